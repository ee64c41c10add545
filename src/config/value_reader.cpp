#include "config/value_reader.h"

#include <fmt/format.h>

#include "base/text.h"
#include "base/time.h"

namespace talaria {
namespace {

class ValueReader {
 public:
  ValueReader(const Field& field, const TomlNode& node, const OnMistake& on_mistake)
      : field_(field), node_(node), on_mistake_(on_mistake) {}

  void operator()(bool* out) const {
    if (!is(TomlNode::Kind::boolean)) return wrong_type("true or false, without quotes");
    *out = node_.boolean;
  }

  void operator()(int* out) const {
    std::int64_t wide = 0;
    if (read_integer(wide)) *out = static_cast<int>(wide);  // every int has bounds that fit
  }

  void operator()(std::int64_t* out) const { read_integer(*out); }

  void operator()(double* out) const {
    if (!is(TomlNode::Kind::number) && !is(TomlNode::Kind::integer)) return wrong_type("a number");
    const double value = is(TomlNode::Kind::number) ? node_.number : static_cast<double>(node_.integer);
    if (in_bounds(value)) *out = value;
  }

  void operator()(Millis* out) const {
    if (!is(TomlNode::Kind::string)) return wrong_type("a string with a number and a unit (ms, s, m, h, d)");
    const Result<Millis> value = parse_duration(node_.text);
    if (!value) return on_mistake_(node_, printable(truncate_utf8(value.error().what, 200)));
    if (in_bounds(static_cast<double>(value->count()))) *out = *value;
  }

  void operator()(std::optional<Millis>* out) const {
    Millis value{0};
    (*this)(&value);
    *out = value;
  }

  void operator()(std::string* out) const {
    if (!is(TomlNode::Kind::string)) return wrong_type("a string");
    read_text(node_, *out);
  }

  void operator()(std::vector<std::string>* out) const {
    if (!is(TomlNode::Kind::array)) return wrong_type("an array of strings");
    for (const TomlNode& item : node_.items) {
      if (item.kind != TomlNode::Kind::string) {
        on_mistake_(item, fmt::format("each element must be a string, but this is {}", describe(item.kind)));
      } else {
        read_text(item, out->emplace_back());
      }
    }
  }

  void operator()(std::optional<SecretRef>* out) const { *out = read_secret(node_); }

  void operator()(std::vector<SecretRef>* out) const {
    if (!is(TomlNode::Kind::array)) return wrong_type("an array of references");
    for (const TomlNode& item : node_.items) {
      if (auto secret = read_secret(item)) out->push_back(std::move(*secret));
    }
  }

  void operator()(std::map<std::string, SecretRef>* out) const {
    if (!is(TomlNode::Kind::table)) return wrong_type("a table of references");
    for (const TomlEntry& entry : node_.entries) {
      if (auto complaint = check_variable_name(entry.key)) {
        on_mistake_(entry.value, std::move(*complaint));
      } else if (auto secret = read_secret(entry.value)) {
        out->insert_or_assign(entry.key, std::move(*secret));
      }
    }
  }

  void operator()(IrcConfig* out) const {
    if (!is(TomlNode::Kind::string)) return wrong_type("a string");
    const auto server = parse_server(node_.text);
    if (!server) return on_mistake_(node_, server.error().what);
    std::tie(out->host, out->port) = *server;
  }

  void operator()(ServerAddress* out) const {
    if (!is(TomlNode::Kind::string)) return wrong_type("a string");
    const auto server = parse_server(node_.text);
    if (!server) return on_mistake_(node_, server.error().what);
    std::tie(out->host, out->port) = *server;
  }

 private:
  bool is(TomlNode::Kind kind) const { return node_.kind == kind; }

  void wrong_type(std::string_view wanted) const {
    on_mistake_(node_, fmt::format("must be {}, but this is {}; write for example {} = {}", wanted,
                                   describe(node_.kind), field_.name, field_.example));
  }

  // Written so that a NaN is out of bounds.
  bool in_bounds(double value) const {
    if (value >= field_.least && value <= field_.most) return true;
    on_mistake_(node_, fmt::format("out of range: it must be {}", render_bounds(field_)));
    return false;
  }

  bool read_integer(std::int64_t& out) const {
    if (!is(TomlNode::Kind::integer)) {
      wrong_type("an integer");
      return false;
    }
    if (!in_bounds(static_cast<double>(node_.integer))) return false;
    out = node_.integer;
    return true;
  }

  void read_text(const TomlNode& node, std::string& out) const {
    if (field_.check != nullptr) {
      if (auto complaint = field_.check(node.text)) return on_mistake_(node, std::move(*complaint));
    }
    out = node.text;
  }

  // Not even the kind of a wrong value is told apart: an unquoted secret would be one.
  std::optional<SecretRef> read_secret(const TomlNode& node) const {
    auto secret = parse_secret_ref(node.kind == TomlNode::Kind::string ? node.text : "");
    if (secret) return std::move(*secret);
    on_mistake_(node, secret.error().what);
    return std::nullopt;
  }

  const Field& field_;
  const TomlNode& node_;
  const OnMistake& on_mistake_;
};

}  // namespace

void read_value(const Field& field, const TomlNode& node, const Slot& slot, const OnMistake& on_mistake) {
  std::visit(ValueReader(field, node, on_mistake), slot);
}

}  // namespace talaria
