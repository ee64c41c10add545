#include "net/sse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <vector>

namespace talaria {

static bool operator==(const SseEvent& a, const SseEvent& b) {
  return a.event == b.event && a.data == b.data && a.id == b.id;
}
static void PrintTo(const SseEvent& e, std::ostream* out) {
  *out << "{" << e.event << "|" << e.data << "|" << e.id << "}";
}

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<SseEvent> parse(const std::vector<std::string_view>& pieces) {
  SseParser parser;
  std::vector<SseEvent> events;
  for (const auto piece : pieces) {
    EXPECT_TRUE(parser.feed(piece, [&](const SseEvent& event) {
      events.push_back(event);
      return true;
    }));
  }
  return events;
}

TEST(Sse, TheExamplesOfTheStandard) {
  // WHATWG HTML, 9.2.6.
  EXPECT_THAT(parse({"data: YHOO\ndata: +2\ndata: 10\n\n"}), ElementsAre(SseEvent{"", "YHOO\n+2\n10", ""}));
  EXPECT_THAT(parse({": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"}),
              ElementsAre(SseEvent{"", "first event", "1"}, SseEvent{"", "second event", ""},
                          SseEvent{"", " third event", ""}));
  EXPECT_THAT(parse({"data\n\ndata\ndata\n\ndata:"}), ElementsAre(SseEvent{"", "", ""}, SseEvent{"", "\n", ""}));
  EXPECT_THAT(parse({"data:test\n\ndata: test\n\n"}), ElementsAre(SseEvent{"", "test", ""}, SseEvent{"", "test", ""}));
}

TEST(Sse, EventNamesLastOneEvent) {
  EXPECT_THAT(parse({"event: ping\nid: 7\n\nevent: a\ndata: x\n\ndata: y\n\n"}),
              ElementsAre(SseEvent{"a", "x", "7"}, SseEvent{"", "y", "7"}));
}

TEST(Sse, AByteOrderMarkCountsOnlyAtTheStart) {
  EXPECT_THAT(parse({"\xef\xbb\xbf"
                     "data: x\n\n"}),
              ElementsAre(SseEvent{"", "x", ""}));
  EXPECT_THAT(parse({"\n\xef\xbb\xbf"
                     "data: x\n\n"}),
              IsEmpty());
}

TEST(Sse, WhatTheStreamCutsOffIsNoEvent) { EXPECT_THAT(parse({"data: x\n"}), IsEmpty()); }

TEST(Sse, CutAtEveryByteItIsTheSame) {
  for (const std::string_view end : {"\n", "\r", "\r\n"}) {
    std::string text =
        "\xef\xbb\xbf"
        ": hi|event: a|data: one|data: two|id: 3||data: [DONE]||retry: 5|data|";
    text += "|";
    for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += end.size()) text.replace(at, 1, end);
    const std::vector<SseEvent> expected{{"a", "one\ntwo", "3"}, {"", "[DONE]", "3"}, {"", "", "3"}};
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
      const std::string_view view = text;
      ASSERT_EQ(parse({view.substr(0, cut), view.substr(cut)}), expected) << cut;
    }
    std::vector<std::string_view> bytes;
    for (std::size_t i = 0; i < text.size(); ++i) bytes.push_back(std::string_view(text).substr(i, 1));
    EXPECT_EQ(parse(bytes), expected);
  }
}

RC_GTEST_PROP(SseProperty, AnyTextCutAnywhereParsesAsInOnePiece, ()) {
  const auto lines = *rc::gen::container<std::vector<std::string>>(
      rc::gen::element<std::string>("data", "data:", "data: x", "event: e", "id: 1", ":", "\r", "\n", "\r\n", "\n\n",
                                    "junk", "\xef\xbb\xbf", std::string("id: \0", 5)));
  std::string text;
  for (const auto& line : lines) text += line;
  const auto cuts = *rc::gen::container<std::vector<std::size_t>>(rc::gen::inRange<std::size_t>(0, text.size() + 1));
  std::vector<std::size_t> sorted = cuts;
  sorted.push_back(text.size());
  std::sort(sorted.begin(), sorted.end());
  std::vector<std::string_view> pieces;
  std::size_t from = 0;
  for (const auto to : sorted) {
    pieces.push_back(std::string_view(text).substr(from, to - from));
    from = to;
  }
  RC_ASSERT(parse(pieces) == parse({text}));
}

RC_GTEST_PROP(SseProperty, WhatIsWrittenIsRead, (const std::string& data)) {
  std::string expected;  // every way to end a line is read as one line feed
  for (std::size_t i = 0; i < data.size(); ++i) {
    if (data[i] == '\r') {
      expected += '\n';
      if (i + 1 < data.size() && data[i + 1] == '\n') ++i;
    } else {
      expected += data[i];
    }
  }
  const auto events = parse({format_sse(data)});
  RC_ASSERT(events.size() == 1u);
  RC_ASSERT(events[0].data == expected);
}

TEST(Sse, WritesEachLine) { EXPECT_EQ(format_sse("a\nb\r\nc\rd"), "data: a\ndata: b\ndata: c\ndata: d\n\n"); }

TEST(Sse, LimitsAnEventHoweverItIsCut) {
  for (const std::string& text : {"data: " + std::string(200, 'x'), std::string(200, ':'), [] {
                                    std::string many;
                                    for (int i = 0; i < 100; ++i) many += "data: x\n";
                                    return many;
                                  }()}) {
    SseParser whole(100);
    const auto result = whole.feed(text, [](const SseEvent&) { return true; });
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind, ErrorKind::limit);
    SseParser by_byte(100);
    bool failed = false;
    for (const char& c : text) failed = failed || !by_byte.feed({&c, 1}, [](const SseEvent&) { return true; });
    EXPECT_TRUE(failed);
  }
  // Many small events are no long one.
  SseParser parser(100);
  int count = 0;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(parser.feed("data: 0123456789\n\n", [&](const SseEvent&) { return ++count > 0; }));
  }
  EXPECT_EQ(count, 100);
}

TEST(Sse, StopsWhenToldTo) {
  SseParser parser;
  int count = 0;
  EXPECT_TRUE(parser.feed("data: 1\n\ndata: 2\n\n", [&](const SseEvent&) { return ++count > 1; }));
  EXPECT_EQ(count, 1);
}

}  // namespace
}  // namespace talaria
