"""Text as Telegram counts and reads it: UTF-16 code units, entities of what people write, and the HTML that bots may send."""

import html
import re

TAGS = {"b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline", "s": "strikethrough", "strike": "strikethrough",
        "del": "strikethrough", "code": "code", "pre": "pre", "a": "text_link", "blockquote": "blockquote", "tg-spoiler": "spoiler"}
TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]*)((?:\s+[a-zA-Z-]+(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'))?)*)\s*>")
REFERENCE = re.compile(r"&(lt|gt|amp|quot|#\d+|#x[0-9a-fA-F]+);")


class CantParse(ValueError):
    """The markup is one that Telegram refuses; the text is Telegram's reason."""


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def written_entities(text: str) -> list[dict]:
    """What Telegram itself finds in a person's text: commands and mentions."""
    found = []
    for match in re.finditer(r"(?:(?<=\s)|^)(/[A-Za-z0-9_]{1,32}(?:@[A-Za-z0-9_]{3,32})?)|(?<![\w@])(@[A-Za-z0-9_]{3,32})", text):
        kind = "bot_command" if match.group(1) else "mention"
        found.append({"type": kind, "offset": units(text[:match.start()]), "length": units(match.group(0))})
    return found


def parse_html(source: str) -> tuple[str, list[dict]]:
    """Text and entities; CantParse where Telegram would say so."""
    text, entities, open_tags, at = "", [], [], 0
    while at < len(source):
        if source[at] == "<":
            tag = TAG.match(source, at)
            if not tag:
                raise CantParse(f"Unsupported start tag at byte offset {len(source[:at].encode())}")
            name, closing, at = tag.group(2).lower(), bool(tag.group(1)), tag.end()
            if name not in TAGS:
                raise CantParse(f'Unsupported start tag "{name}" at byte offset {len(source[:tag.start()].encode())}')
            if not closing:
                if name == "blockquote" and any(t == "blockquote" for t, *_ in open_tags):
                    raise CantParse("blockquote entities can't be nested")
                open_tags.append((name, units(text), tag.group(3)))
                continue
            if not open_tags or open_tags[-1][0] != name:
                raise CantParse(f'Unmatched end tag at byte offset {len(source[:tag.start()].encode())}')
            _, offset, attributes = open_tags.pop()
            entity = {"type": TAGS[name], "offset": offset, "length": units(text) - offset}
            if name == "a":
                href = re.search(r"href\s*=\s*[\"']([^\"']*)[\"']", attributes)
                entity["url"] = html.unescape(href.group(1)) if href else ""
            if entity["length"]:
                entities.append(entity)
        elif source[at] == "&" and (reference := REFERENCE.match(source, at)):
            text, at = text + html.unescape(reference.group(0)), reference.end()
        else:
            text, at = text + source[at], at + 1
    if open_tags:
        raise CantParse(f'Can\'t find end tag corresponding to start tag "{open_tags[-1][0]}"')
    return text, entities
