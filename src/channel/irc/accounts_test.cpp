#include "channel/irc/accounts.h"

#include <gtest/gtest.h>

namespace talaria::irc {
namespace {

TEST(AccountBook, KnowsWhatItWasToldWhileItCanSee) {
  AccountBook book;
  book.joined("bob", "#a", "alice");
  EXPECT_EQ(book.account_of("bob"), "alice");
  book.account_is("bob", "");
  EXPECT_EQ(book.account_of("bob"), std::nullopt);
  book.account_is("bob", "carol");
  EXPECT_EQ(book.account_of("bob"), "carol");
}

TEST(AccountBook, NobodyIsKnownOutOfSight) {
  AccountBook book;
  book.account_is("bob", "alice");  // shares no channel with us
  EXPECT_EQ(book.account_of("bob"), std::nullopt);
  book.joined("bob", "#a", "alice");
  book.joined("bob", "#b", {});
  book.parted("bob", "#a");
  EXPECT_EQ(book.account_of("bob"), "alice");
  book.parted("bob", "#b");
  EXPECT_EQ(book.account_of("bob"), std::nullopt);
  book.joined("bob", "#a", {});  // may be somebody else by now
  EXPECT_EQ(book.account_of("bob"), std::nullopt);
}

TEST(AccountBook, AnAccountGoesWithThePersonNotTheNick) {
  AccountBook book;
  book.joined("bob", "#a", "alice");
  book.joined("eve", "#a", "");
  book.renamed("bob", "robert");
  book.renamed("eve", "bob");
  EXPECT_EQ(book.account_of("robert"), "alice");
  EXPECT_EQ(book.account_of("bob"), std::nullopt);
  book.renamed("robert", "robert");
  EXPECT_EQ(book.account_of("robert"), "alice");
  // Somebody unseen takes a nick: what was known of it is void.
  book.renamed("stranger", "robert");
  EXPECT_EQ(book.account_of("robert"), std::nullopt);
}

TEST(AccountBook, QuittingAndOurLeaving) {
  AccountBook book;
  book.joined("bob", "#a", "alice");
  book.quit("bob");
  EXPECT_EQ(book.account_of("bob"), std::nullopt);
  book.joined("bob", "#a", "alice");
  book.joined("carol", "#a", "carol");
  book.joined("carol", "#b", {});
  book.left("#a");
  EXPECT_EQ(book.account_of("bob"), std::nullopt);
  EXPECT_EQ(book.account_of("carol"), "carol");
}

TEST(AccountBook, IsBounded) {
  AccountBook book(2);
  for (const auto* nick : {"a", "b", "c"}) book.joined(nick, "#x", nick);
  EXPECT_EQ(book.size(), 2U);
  EXPECT_EQ(book.account_of("c"), std::nullopt);
}

}  // namespace
}  // namespace talaria::irc
