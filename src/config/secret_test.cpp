#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "config/config.h"
#include "config/environment_test_support.h"

namespace talaria {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(SecretRefs, RoundTrip) {
  for (const char* text : {"env:OPENAI_API_KEY", "file:/run/secrets/key file", "cred:irc-password"}) {
    const auto ref = parse_secret_ref(text);
    ASSERT_TRUE(ref) << text;
    EXPECT_EQ(to_string(*ref), text);
  }
}

TEST(SecretRefs, LiteralsAreRefusedUnseen) {
  for (const char* text : {"", "sk-zyx", "env:", "env:1zyx", "env:zyx-1", "file:zyx", "file:", "cred:", "cred:../zyx",
                           "cred:..", "ENV:zyx", "vault:zyx"}) {
    const auto ref = parse_secret_ref(text);
    ASSERT_FALSE(ref) << text;
    EXPECT_THAT(ref.error().what, Not(HasSubstr("zyx")));
    EXPECT_THAT(ref.error().what, HasSubstr("env:NAME"));
  }
}

class Secrets : public testing::Test {
 protected:
  Secrets() : directory_(std::filesystem::temp_directory_path() / ("talaria-secret-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(directory_);
  }
  ~Secrets() override { std::filesystem::remove_all(directory_); }
  SecretRef file(const std::string& content, ::mode_t mode = 0600) const {
    const std::string path = directory_ / "key";
    std::filesystem::remove(path);
    std::ofstream(path) << content;
    ::chmod(path.c_str(), mode);
    return {SecretRef::Source::file, path};
  }
  std::filesystem::path directory_;
  EnvironmentGuard environment_;
};

TEST_F(Secrets, ComeFromVariables) {
  const SecretRef ref{SecretRef::Source::environment, "TALARIA_TEST_SECRET"};
  environment_.set(ref.name, "s3");
  EXPECT_EQ(resolve_secret(ref), "s3");
  environment_.set(ref.name, "");
  EXPECT_THAT(resolve_secret(ref).error().what, HasSubstr("env:TALARIA_TEST_SECRET is empty"));
  environment_.set(ref.name, "a\r\nX: y");
  EXPECT_THAT(resolve_secret(ref).error().what, HasSubstr("line break"));
  environment_.set(ref.name, std::nullopt);
  EXPECT_EQ(resolve_secret(ref).error().kind, ErrorKind::not_found);
}

TEST_F(Secrets, ComeFromFilesWithoutTheirNewline) {
  EXPECT_EQ(resolve_secret(file("s3\n")), "s3");
  EXPECT_EQ(resolve_secret(file("s3")), "s3");
  EXPECT_EQ(resolve_secret(file("s3\n\n")).error().kind, ErrorKind::invalid);
  EXPECT_EQ(resolve_secret(file("\n")).error().kind, ErrorKind::invalid);
  EXPECT_EQ(resolve_secret(file("")).error().kind, ErrorKind::invalid);
  EXPECT_EQ(resolve_secret({SecretRef::Source::file, "/nonexistent/key"}).error().kind, ErrorKind::not_found);
}

TEST_F(Secrets, OthersMayNotReadTheFile) {
  for (const ::mode_t mode : {0640U, 0604U, 0610U, 0666U}) {
    const auto secret = resolve_secret(file("s3", mode));
    ASSERT_FALSE(secret) << mode;
    EXPECT_EQ(secret.error().kind, ErrorKind::permission);
    EXPECT_THAT(secret.error().what, HasSubstr("chmod 600 " + (directory_ / "key").string()));
  }
  EXPECT_EQ(resolve_secret(file("s3", 0400)), "s3");
}

TEST_F(Secrets, AreAtMost64KiB) {
  const std::string largest(64 * 1024, 'x');
  EXPECT_EQ(resolve_secret(file(largest)), largest);
  EXPECT_EQ(resolve_secret(file(largest + "\n")), largest);
  EXPECT_EQ(resolve_secret(file(largest + "x")).error().kind, ErrorKind::limit);
  EXPECT_EQ(resolve_secret(file(std::string(1'000'000, 'x'))).error().kind, ErrorKind::limit);
}

TEST_F(Secrets, AFifoDoesNotHoldUsUp) {
  const std::string path = directory_ / "fifo";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(resolve_secret({SecretRef::Source::file, path}).error().kind, ErrorKind::invalid);
}

TEST_F(Secrets, CredentialsComeFromTheManagersDirectory) {
  const SecretRef ref{SecretRef::Source::credential, "key"};
  environment_.set("CREDENTIALS_DIRECTORY", std::nullopt);
  EXPECT_THAT(resolve_secret(ref).error().what, HasSubstr("LoadCredential=key"));
  (void)file("s3\n", 0440);  // the manager's ACL shows up as a group bit
  environment_.set("CREDENTIALS_DIRECTORY", directory_.string());
  EXPECT_EQ(resolve_secret(ref), "s3");
}

}  // namespace
}  // namespace talaria
