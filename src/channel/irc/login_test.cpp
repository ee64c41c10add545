#include "channel/irc/login.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>

namespace talaria::irc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

Lines say(Login& login, std::string_view line) {
  const auto message = parse_message(line);
  if (!message) throw std::runtime_error(message.error().what);
  return login.on_message(*message);
}

LoginSettings plain() { return {.nick = "talaria"}; }
LoginSettings with_sasl() { return {.nick = "talaria", .sasl_account = "bot", .sasl_password = "secret"}; }

TEST(Login, WithoutSasl) {
  Login login({.nick = "talaria", .user = "tal", .realname = "Talaria Bot", .server_password = "let me in"});
  EXPECT_THAT(login.start(), ElementsAre("PASS :let me in", "CAP LS 302", "NICK talaria", "USER tal 0 * :Talaria Bot"));
  EXPECT_THAT(say(login, "CAP * LS * :account-tag multi-prefix"), IsEmpty());
  EXPECT_THAT(say(login, "CAP * LS :server-time sasl=PLAIN"), ElementsAre("CAP REQ :server-time account-tag"));
  EXPECT_THAT(say(login, "CAP talaria ACK :server-time account-tag "), ElementsAre("CAP END"));
  EXPECT_TRUE(login.has("account-tag"));
  EXPECT_FALSE(login.has("sasl"));
  EXPECT_FALSE(login.registered());
  say(login, ":s 001 talaria :Welcome");
  EXPECT_TRUE(login.registered());
  EXPECT_EQ(login.nick(), "talaria");
  EXPECT_FALSE(login.failure());
}

TEST(Login, SaslPlain) {
  Login login(with_sasl());
  (void)login.start();
  EXPECT_THAT(say(login, "CAP * LS :sasl=EXTERNAL,PLAIN message-tags"), ElementsAre("CAP REQ :message-tags sasl"));
  EXPECT_THAT(say(login, "CAP * ACK :message-tags sasl"), ElementsAre("AUTHENTICATE PLAIN"));
  // base64("bot\0bot\0secret")
  EXPECT_THAT(say(login, "AUTHENTICATE +"), ElementsAre("AUTHENTICATE Ym90AGJvdABzZWNyZXQ="));
  EXPECT_THAT(say(login, ":s 900 talaria talaria!u@h bot :You are now logged in"), IsEmpty());
  EXPECT_THAT(say(login, ":s 903 talaria :SASL authentication successful"), ElementsAre("CAP END"));
  say(login, ":s 001 talaria :Welcome");
  EXPECT_TRUE(login.registered());
}

TEST(Login, SaslRefusedIsLastingAndSaysWhatToDo) {
  Login login(with_sasl());
  (void)login.start();
  say(login, "CAP * LS :sasl");
  say(login, "CAP * ACK :sasl");
  say(login, "AUTHENTICATE +");
  EXPECT_THAT(say(login, ":s 904 talaria :SASL authentication failed"), IsEmpty());
  ASSERT_TRUE(login.failure());
  EXPECT_TRUE(login.failure()->lasting);
  EXPECT_THAT(login.failure()->what, HasSubstr("sasl_password"));
  EXPECT_THAT(login.failure()->what, testing::Not(HasSubstr("secret")));
}

TEST(Login, NeverGoesOnUnauthenticated) {
  {
    Login login(with_sasl());
    (void)login.start();
    say(login, "CAP * LS :multi-prefix");
    EXPECT_TRUE(login.failure() && login.failure()->lasting);
  }
  {
    Login login(with_sasl());
    (void)login.start();
    say(login, "CAP * LS :sasl=EXTERNAL");
    EXPECT_TRUE(login.failure());
  }
  {
    Login login(with_sasl());
    (void)login.start();
    say(login, ":s 421 * CAP :Unknown command");
    EXPECT_TRUE(login.failure());
  }
  {
    Login login(with_sasl());
    (void)login.start();
    say(login, ":s 001 talaria :Welcome");
    EXPECT_TRUE(login.failure());
    EXPECT_FALSE(login.registered());
  }
  {
    // A server that says 903 before we have sent anything.
    Login login(with_sasl());
    (void)login.start();
    say(login, ":s 903 talaria :ok");
    say(login, ":s 001 talaria :Welcome");
    EXPECT_TRUE(login.failure());
  }
}

TEST(Login, RefusedCapabilitiesAreAskedForAgainWithoutTheRest) {
  Login login(with_sasl());
  (void)login.start();
  say(login, "CAP * LS :sasl server-time");
  EXPECT_THAT(say(login, "CAP * NAK :server-time sasl"), ElementsAre("CAP REQ sasl"));
  EXPECT_THAT(say(login, "CAP * ACK :sasl"), ElementsAre("AUTHENTICATE PLAIN"));
  Login other(plain());
  (void)other.start();
  say(other, "CAP * LS :server-time");
  EXPECT_THAT(say(other, "CAP * NAK :server-time"), ElementsAre("CAP END"));
}

TEST(Login, AServerWithoutCapabilities) {
  Login login(plain());
  (void)login.start();
  EXPECT_THAT(say(login, ":s 421 * CAP :Unknown command"), IsEmpty());
  say(login, ":s 001 talaria :Welcome");
  EXPECT_TRUE(login.registered());
}

TEST(Login, ATakenNickGetsVariants) {
  Login login(plain());
  (void)login.start();
  EXPECT_THAT(say(login, ":s 433 * talaria :in use"), ElementsAre("NICK talaria_"));
  EXPECT_THAT(say(login, ":s 433 * talaria_ :in use"), ElementsAre("NICK talaria__"));
  EXPECT_EQ(login.nick(), "talaria__");
  std::set<std::string> seen;
  for (int i = 0; i < 20 && !login.failure(); ++i) {
    for (auto& line : say(login, ":s 433 * x :in use")) EXPECT_TRUE(seen.insert(line).second) << line;
  }
  ASSERT_TRUE(login.failure());
  EXPECT_FALSE(login.failure()->lasting);  // ghosts go away
}

TEST(Login, TheServerMayCutTheNick) {
  Login login({.nick = "averylongnickname"});
  (void)login.start();
  say(login, ":s 001 averylong :Welcome");
  EXPECT_EQ(login.nick(), "averylong");
}

TEST(Login, RefusalsSayWhichSettingIsMeant) {
  const auto failed = [](std::string_view line) {
    Login login(plain());
    (void)login.start();
    say(login, line);
    return login.failure().value_or(LoginFailure{});
  };
  EXPECT_THAT(failed(":s 464 * :Password incorrect").what, HasSubstr("server_password"));
  EXPECT_TRUE(failed(":s 464 * :Password incorrect").lasting);
  EXPECT_THAT(failed(":s 432 * t@l :Erroneous nickname").what, HasSubstr("nick"));
  EXPECT_TRUE(failed(":s 465 * :You are banned").lasting);
  EXPECT_THAT(failed("ERROR :Closing link: too many connections").what, HasSubstr("too many connections"));
  EXPECT_FALSE(failed("ERROR :Closing link: too many connections").lasting);
  EXPECT_TRUE(failed("ERROR :Access denied: Bad password?").lasting);
}

TEST(Login, RubbishIsPassedOver) {
  Login login(plain());
  (void)login.start();
  for (const auto* line :
       {"CAP", "CAP *", "CAP * LS", "CAP * ACK", "CAP * NAK", "CAP * DEL", "CAP * NEW", "AUTHENTICATE", "001", "433"}) {
    (void)say(login, line);
  }
  SUCCEED();
}

std::string decoded(const Lines& lines) {
  std::string base64;
  for (const auto& line : lines) {
    const auto part = line.substr(std::string_view("AUTHENTICATE ").size());
    if (part != "+") base64 += part;
  }
  std::string out(base64.size(), '\0');
  const int n = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                reinterpret_cast<const unsigned char*>(base64.data()), static_cast<int>(base64.size()));
  out.resize(static_cast<std::size_t>(n) - static_cast<std::size_t>(std::ranges::count(base64, '=')));
  return out;
}

TEST(SaslPlainLines, PiecesOf400) {
  // 3 · 100 bytes are exactly 400 characters of base64.
  const auto exact = sasl_plain_lines("bot", std::string(300 - 2 * 3 - 2, 'p'));
  ASSERT_THAT(exact, SizeIs(2));
  EXPECT_EQ(exact[1], "AUTHENTICATE +");
  EXPECT_EQ(decoded(exact), std::string("bot\0bot\0", 8) + std::string(292, 'p'));
  const auto longer = sasl_plain_lines("bot", std::string(500, 'p'));
  ASSERT_THAT(longer, SizeIs(2));
  EXPECT_EQ(longer[0].size(), std::string_view("AUTHENTICATE ").size() + 400);
  EXPECT_EQ(decoded(longer), std::string("bot\0bot\0", 8) + std::string(500, 'p'));
}

}  // namespace
}  // namespace talaria::irc
