#include "channel/token_bucket.h"

#include <gtest/gtest.h>

namespace talaria {
namespace {

using namespace std::chrono_literals;
const TokenBucket::Time t0 = TokenBucket::Time{} + 1h;

// Lines sent by `until` when each goes as soon as it may.
int sent(TokenBucket& bucket, TokenBucket::Time until) {
  int n = 0;
  for (auto now = t0;; ++n) {
    now = std::max(now, bucket.ready_at(now));
    if (now >= until) return n;
    bucket.take(now);
  }
}

TEST(TokenBucket, ABurstThenTheRate) {
  TokenBucket bucket(2.0, 4);
  EXPECT_EQ(sent(bucket, t0 + 1ms), 4);
  TokenBucket other(2.0, 4);
  const int in_ten_seconds = sent(other, t0 + 10s);
  EXPECT_GE(in_ten_seconds, 22);
  EXPECT_LE(in_ten_seconds, 24);
}

TEST(TokenBucket, AWaitAlwaysEndsWithAToken) {
  TokenBucket bucket(3.0, 1);
  auto now = t0;
  for (int i = 0; i < 1000; ++i) {
    now = bucket.ready_at(now);
    ASSERT_EQ(bucket.ready_at(now), now);
    bucket.take(now);
  }
}

TEST(TokenBucket, DebtIsPaidBackAndBounded) {
  TokenBucket bucket(1.0, 2);
  for (int i = 0; i < 100; ++i) bucket.take(t0);
  const auto wait = bucket.ready_at(t0) - t0;
  EXPECT_GE(wait, 3s);
  EXPECT_LT(wait, 3100ms);
}

TEST(TokenBucket, FillsUpToTheBurstOnly) {
  TokenBucket bucket(1.0, 2);
  bucket.take(t0, 2);
  int n = 0;
  const auto later = t0 + 1h;
  for (; bucket.ready_at(later) == later; ++n) bucket.take(later);
  EXPECT_EQ(n, 2);
}

}  // namespace
}  // namespace talaria
