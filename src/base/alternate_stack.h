#pragma once
// An alternate signal stack for the thread that holds this (sigaltstack(2)): the handler of a stack overflow needs one.
// Its memory costs nothing until a signal comes. The one
// that was there before (a sanitizer's) comes back afterwards.

#include <csignal>

namespace talaria {

class AlternateStack {
 public:
  AlternateStack();
  AlternateStack(const AlternateStack&) = delete;
  AlternateStack& operator=(const AlternateStack&) = delete;
  ~AlternateStack();  // in the same thread

 private:
  void* memory_ = nullptr;
  stack_t before_{};
};

}  // namespace talaria
