// libsystemd, loaded when something of it is first called. Linked in the usual way it would bring seven more libraries
// into every start of every command, a millisecond and 0.8 MB, and be missing where systemd is: containers, other
// service managers. So the functions that we use are defined here, each under its own name, and pass their call on to
// the library's.
//
// Where it can't be loaded each fails with ELIBACC ("Can not access a needed shared library"), as if the service
// manager had refused. Thread-safe. Of the functions with "..." the library has a second form that takes a va_list
// (sd_bus_message_append(3)).
#include <dlfcn.h>
#include <sys/uio.h>
#include <systemd/sd-bus.h>
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include <cerrno>
#include <cstdarg>

namespace {

// Never unloaded. Null: it can't be loaded.
void* library() {
  static void* const handle = ::dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
  return handle;
}

template <typename Function>
Function* find(const char* name) {
  return library() == nullptr ? nullptr : reinterpret_cast<Function*>(::dlsym(library(), name));
}

}  // namespace

extern "C" {

// clang-format off
#define PASS_ON(type, otherwise, name, parameters, arguments)   \
  type name parameters {                                        \
    static auto* const real = find<type parameters>(#name);     \
    return real == nullptr ? otherwise : real arguments;        \
  }
#define PASS_ON_VOID(name, parameters, arguments)               \
  void name parameters {                                        \
    static auto* const real = find<void parameters>(#name);     \
    if (real != nullptr) real arguments;                        \
  }

PASS_ON(int, -ELIBACC, sd_bus_new, (sd_bus** bus), (bus))
PASS_ON(int, -ELIBACC, sd_bus_set_address, (sd_bus* bus, const char* address), (bus, address))
PASS_ON(int, -ELIBACC, sd_bus_set_bus_client, (sd_bus* bus, int b), (bus, b))
PASS_ON(int, -ELIBACC, sd_bus_start, (sd_bus* bus), (bus))
PASS_ON(int, -ELIBACC, sd_bus_is_ready, (sd_bus* bus), (bus))
PASS_ON(int, -ELIBACC, sd_bus_get_fd, (sd_bus* bus), (bus))
PASS_ON(int, -ELIBACC, sd_bus_get_events, (sd_bus* bus), (bus))
PASS_ON(int, -ELIBACC, sd_bus_get_timeout, (sd_bus* bus, std::uint64_t* usec), (bus, usec))
PASS_ON(int, -ELIBACC, sd_bus_process, (sd_bus* bus, sd_bus_message** message), (bus, message))
PASS_ON(int, -ELIBACC, sd_bus_wait, (sd_bus* bus, std::uint64_t usec), (bus, usec))
PASS_ON_VOID(sd_bus_close, (sd_bus* bus), (bus))
PASS_ON(sd_bus*, nullptr, sd_bus_unref, (sd_bus* bus), (bus))
PASS_ON(int, -ELIBACC, sd_bus_path_encode, (const char* prefix, const char* id, char** path), (prefix, id, path))
PASS_ON(int, -ELIBACC, sd_bus_call,
        (sd_bus* bus, sd_bus_message* message, std::uint64_t usec, sd_bus_error* error, sd_bus_message** reply),
        (bus, message, usec, error, reply))
PASS_ON(int, -ELIBACC, sd_bus_call_async,
        (sd_bus* bus, sd_bus_slot** slot, sd_bus_message* message, sd_bus_message_handler_t callback, void* data, std::uint64_t usec),
        (bus, slot, message, callback, data, usec))
PASS_ON(int, -ELIBACC, sd_bus_match_signal,
        (sd_bus* bus, sd_bus_slot** slot, const char* sender, const char* path, const char* interface, const char* member,
         sd_bus_message_handler_t callback, void* data),
        (bus, slot, sender, path, interface, member, callback, data))
PASS_ON(sd_bus_slot*, nullptr, sd_bus_slot_unref, (sd_bus_slot* slot), (slot))
PASS_ON_VOID(sd_bus_error_free, (sd_bus_error* error), (error))

PASS_ON(int, -ELIBACC, sd_bus_message_new_method_call,
        (sd_bus* bus, sd_bus_message** message, const char* destination, const char* path, const char* interface, const char* member),
        (bus, message, destination, path, interface, member))
PASS_ON(sd_bus_message*, nullptr, sd_bus_message_unref, (sd_bus_message* message), (message))
PASS_ON(int, -ELIBACC, sd_bus_message_appendv, (sd_bus_message* message, const char* types, std::va_list list), (message, types, list))
PASS_ON(int, -ELIBACC, sd_bus_message_append_strv, (sd_bus_message* message, char** list), (message, list))
PASS_ON(int, -ELIBACC, sd_bus_message_readv, (sd_bus_message* message, const char* types, std::va_list list), (message, types, list))
PASS_ON(int, -ELIBACC, sd_bus_message_skip, (sd_bus_message* message, const char* types), (message, types))
PASS_ON(int, -ELIBACC, sd_bus_message_enter_container, (sd_bus_message* message, char type, const char* contents), (message, type, contents))
PASS_ON(int, -ELIBACC, sd_bus_message_exit_container, (sd_bus_message* message), (message))
PASS_ON(const sd_bus_error*, nullptr, sd_bus_message_get_error, (sd_bus_message* message), (message))
PASS_ON(int, -ELIBACC, sd_bus_message_set_allow_interactive_authorization, (sd_bus_message* message, int b), (message, b))

PASS_ON(int, -ELIBACC, sd_journal_sendv, (const struct iovec* fields, int n), (fields, n))
PASS_ON(int, -ELIBACC, sd_journal_open, (sd_journal** journal, int flags), (journal, flags))
PASS_ON_VOID(sd_journal_close, (sd_journal* journal), (journal))
PASS_ON(int, -ELIBACC, sd_journal_set_data_threshold, (sd_journal* journal, std::size_t size), (journal, size))
PASS_ON(int, -ELIBACC, sd_journal_add_match, (sd_journal* journal, const void* data, std::size_t size), (journal, data, size))
PASS_ON(int, -ELIBACC, sd_journal_add_conjunction, (sd_journal* journal), (journal))
PASS_ON(int, -ELIBACC, sd_journal_add_disjunction, (sd_journal* journal), (journal))
PASS_ON(int, -ELIBACC, sd_journal_seek_head, (sd_journal* journal), (journal))
PASS_ON(int, -ELIBACC, sd_journal_seek_tail, (sd_journal* journal), (journal))
PASS_ON(int, -ELIBACC, sd_journal_next, (sd_journal* journal), (journal))
PASS_ON(int, -ELIBACC, sd_journal_previous_skip, (sd_journal* journal, std::uint64_t skip), (journal, skip))
PASS_ON(int, -ELIBACC, sd_journal_get_data, (sd_journal* journal, const char* field, const void** data, std::size_t* size),
        (journal, field, data, size))
PASS_ON(int, -ELIBACC, sd_journal_get_realtime_usec, (sd_journal* journal, std::uint64_t* usec), (journal, usec))
PASS_ON(int, -ELIBACC, sd_journal_wait, (sd_journal* journal, std::uint64_t usec), (journal, usec))
// clang-format on

int sd_bus_message_append(sd_bus_message* message, const char* types, ...) {
  std::va_list list;
  va_start(list, types);
  const int r = sd_bus_message_appendv(message, types, list);
  va_end(list);
  return r;
}

int sd_bus_message_read(sd_bus_message* message, const char* types, ...) {
  std::va_list list;
  va_start(list, types);
  const int r = sd_bus_message_readv(message, types, list);
  va_end(list);
  return r;
}

}  // extern "C"
