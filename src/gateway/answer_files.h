#pragma once
// Files that an agent sends along with its answer: a line "MEDIA: /path" of the answer names one. Agents repeat what
// people tell them, so a name alone opens nothing: only regular files below the directories that the operator listed
// (agent.*.attach_from) leave the machine, and neither ".." nor a symbolic link leads out of them (openat2(2),
// RESOLVE_BENEATH). A copy is kept before the turn ends, so that what was promised can be delivered later.

#include <string>
#include <string_view>
#include <vector>

#include "channel/channel.h"

namespace talaria {

struct AnswerFiles {
  std::string text;                // the answer without the lines that name files
  std::vector<std::string> paths;  // in their order, at most max_answer_files; more stay lines of the text
};
inline constexpr std::size_t max_answer_files = 10;
[[nodiscard]] AnswerFiles find_answer_files(std::string_view answer);
// What may be shown of an answer that is still being written: neither lines that name files nor a last one that may
// become one.
[[nodiscard]] std::string text_to_show(std::string_view unfinished);

// Copies the file into `directory`. Blocking: for the store's thread. permission: not below any of the roots;
// not_found; invalid: no regular file; limit: larger than max_attachment; unavailable: the copy can't be written now.
[[nodiscard]] Result<Attachment> take_answer_file(const std::string& path, const std::vector<std::string>& roots,
                                                  const std::string& directory);

}  // namespace talaria
