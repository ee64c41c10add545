#pragma once
// What every thread of this process is doing, for a program that is stuck or about to die: name, state, where in the
// kernel it waits, and its stack. Written to a descriptor, without allocating or locking: safe in a signal handler, and
// with a heap that is broken.
//
// A thread shows its stack itself: it gets a signal, whose handler writes it. One that sleeps uninterruptibly (state D,
// a disk that does not answer) takes no signal; of such a one there is the kernel's word for what it waits for. Stacks
// are file(+offset) lines; `addr2line -Cfe FILE OFFSET` names function and line.

#include <chrono>

namespace talaria {

// Once, at the start of the program, before the others: takes one real-time signal for the purpose and loads the
// unwinder, which allocates at its first use. No signal mask of ours blocks that signal.
void prepare_stack_dump();

// This thread's stack. Async-signal-safe.
void dump_own_stack(int fd);

// Every thread, this one last. Waits `patience` for each one that does not answer, and for 20 of them at most.
// Async-signal-safe; one caller at a time, a second one returns at once.
void dump_all_threads(int fd, std::chrono::milliseconds patience = std::chrono::milliseconds{100});

// Copies what stands in a file (a memfd, say) from its beginning. Async-signal-safe; gives up where `to` takes no more.
void copy_dump(int from, int to);

}  // namespace talaria
