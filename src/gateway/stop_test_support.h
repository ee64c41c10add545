#pragma once
// A stop that waits for nobody: what the daemon does with a gateway whose drain is over.

#include "gateway/gateway.h"

namespace talaria::test {

inline Task<> stop_at_once(Gateway& gateway) {
  gateway.begin_drain();
  (void)co_await gateway.end_turns(Deadline::in(Millis{5'000}));
  (void)co_await gateway.end_deliveries(Deadline::in(Millis{0}));
  (void)co_await gateway.end_channels(Deadline::in(Millis{5'000}));
}

}  // namespace talaria::test
