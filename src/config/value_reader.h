#pragma once
// One value: from a node of the file, through type, bounds and check of its field, to its place in the configuration.

#include <functional>
#include <string>

#include "config/schema.h"
#include "config/toml_tree.h"

namespace talaria {

// Told of every mistake, with the node it is in: the value, or one element of an array.
using OnMistake = std::function<void(const TomlNode& at, std::string message)>;

// Stores what is good and reports what is not; after a report the slot's content has no meaning.
void read_value(const Field& field, const TomlNode& node, const Slot& slot, const OnMistake& on_mistake);

}  // namespace talaria
