#include "base/alternate_stack.h"

#include <sys/mman.h>

#include <cstddef>

namespace talaria {

namespace {
constexpr std::size_t stack_size = 64 * 1024;
}

AlternateStack::AlternateStack() {
  void* memory =
      ::mmap(nullptr, stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return;  // the handler runs on the thread's own stack then
  memory_ = memory;
  const stack_t stack{.ss_sp = memory_, .ss_flags = 0, .ss_size = stack_size};
  ::sigaltstack(&stack, &before_);
}

AlternateStack::~AlternateStack() {
  if (memory_ == nullptr) return;
  ::sigaltstack(&before_, nullptr);
  ::munmap(memory_, stack_size);
}

}  // namespace talaria
