#include "net/tls.h"

#include <dirent.h>
#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

namespace talaria {

namespace {

std::string openssl_error() {
  const auto code = ERR_peek_last_error();
  const char* reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
  ERR_clear_error();
  return reason != nullptr ? reason : "unknown TLS error";
}

// A socket BIO that never raises SIGPIPE (OpenSSL's own one writes with write(2)).
int socket_of(BIO* bio) { return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio))); }

int bio_write(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  const auto n = ::send(socket_of(bio), data, static_cast<std::size_t>(size), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(n);
}

int bio_read(BIO* bio, char* into, int size) {
  BIO_clear_retry_flags(bio);
  const auto n = ::recv(socket_of(bio), into, static_cast<std::size_t>(size), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
  if (n == 0) errno = 0;  // how TlsSession::step knows an end from an error
  return static_cast<int>(n);
}

long bio_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

BIO* new_socket_bio(int fd) {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket without signals");
    BIO_meth_set_write(m, bio_write);
    BIO_meth_set_read(m, bio_read);
    BIO_meth_set_ctrl(m, bio_control);
    return m;
  }();
  BIO* bio = BIO_new(method);
  if (bio == nullptr) return nullptr;
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)));
  BIO_set_init(bio, 1);
  return bio;
}

// "5f15c80c.0": the names by which OpenSSL looks a certificate up (openssl-rehash(1)).
bool is_hashed_directory(const char* path) {
  DIR* directory = ::opendir(path);
  if (directory == nullptr) return false;
  bool found = false;
  while (const dirent* entry = ::readdir(directory)) {
    const std::string_view name = entry->d_name;
    found = name.size() == 10 && name[8] == '.' && name.find_first_not_of("0123456789abcdef") == 8;
    if (found) break;
  }
  ::closedir(directory);
  return found;
}

// A hashed directory is read one certificate at a time, when a chain needs it; a bundle file costs all of them in
// memory at once.
bool load_system_store(SSL_CTX* context) {
  if (std::getenv("SSL_CERT_FILE") != nullptr || std::getenv("SSL_CERT_DIR") != nullptr) {
    return SSL_CTX_set_default_verify_paths(context) == 1;
  }
  for (const char* directory : {"/etc/ssl/certs", "/etc/pki/tls/certs"}) {
    if (is_hashed_directory(directory)) return SSL_CTX_load_verify_dir(context, directory) == 1;
  }
  for (const char* file :
       {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"}) {
    if (::access(file, R_OK) == 0) return SSL_CTX_load_verify_file(context, file) == 1;
  }
  return SSL_CTX_set_default_verify_paths(context) == 1;
}

bool is_address(const std::string& host) {
  ASN1_OCTET_STRING* address = a2i_IPADDRESS(host.c_str());
  ASN1_OCTET_STRING_free(address);
  return address != nullptr;
}

}  // namespace

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

Result<std::shared_ptr<TlsContext>> TlsContext::make(const std::string& ca_file) {
  SSL_CTX* raw = SSL_CTX_new(TLS_client_method());
  if (raw == nullptr) return fail(ErrorKind::internal, "set up TLS: " + openssl_error());
  std::shared_ptr<TlsContext> context(new TlsContext(raw));
  SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
  SSL_CTX_set_verify(raw, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_mode(raw, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(raw, 1);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  if (ca_file.empty()) {
    if (!load_system_store(raw))
      return fail(ErrorKind::unavailable, "load the system's CA certificates: " + openssl_error());
  } else if (SSL_CTX_load_verify_file(raw, ca_file.c_str()) != 1) {
    return fail(ErrorKind::invalid, fmt::format("load CA certificates from {}: {}", ca_file, openssl_error()));
  }
  ERR_clear_error();
  return context;
}

Result<std::unique_ptr<TlsSession>> TlsSession::make(std::shared_ptr<TlsContext> context, int fd,
                                                     const std::string& host, std::string_view alpn) {
  SSL* ssl = SSL_new(context->context_);
  if (ssl == nullptr) return fail(ErrorKind::internal, "set up TLS: " + openssl_error());
  std::unique_ptr<TlsSession> session(new TlsSession(std::move(context), ssl));
  BIO* bio = new_socket_bio(fd);
  if (bio == nullptr) return fail(ErrorKind::internal, "set up TLS: " + openssl_error());
  SSL_set_bio(ssl, bio, bio);  // takes the BIO
  SSL_set_connect_state(ssl);

  X509_VERIFY_PARAM* check = SSL_get0_param(ssl);
  X509_VERIFY_PARAM_set_hostflags(check, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  const bool named = is_address(host) ? X509_VERIFY_PARAM_set1_ip_asc(check, host.c_str()) == 1
                                      : X509_VERIFY_PARAM_set1_host(check, host.data(), host.size()) == 1 &&
                                            SSL_set_tlsext_host_name(ssl, const_cast<char*>(host.c_str())) == 1;
  // Without a name to check against OpenSSL would check none.
  if (host.empty() || !named) return fail(ErrorKind::invalid, fmt::format("\"{}\" is no host name for TLS", host));
  if (!alpn.empty()) {
    std::string protocols(1, static_cast<char>(alpn.size()));
    protocols += alpn;
    SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(protocols.data()),
                        static_cast<unsigned>(protocols.size()));
  }
  return session;
}

TlsSession::~TlsSession() { SSL_free(ssl_); }

TlsSession::Step TlsSession::step(int result) {
  const int err = errno;
  if (result > 0) return Step::done;
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ: return Step::want_read;
    case SSL_ERROR_WANT_WRITE: return Step::want_write;
    case SSL_ERROR_ZERO_RETURN: return Step::closed;
    case SSL_ERROR_SYSCALL:
      ended_ = true;
      if (err == 0 || err == ECONNRESET || err == EPIPE) return Step::cut;
      error_ = fail_errno(err, "TLS").error();
      return Step::failed;
    default: break;
  }
  ended_ = true;
  const long verdict = SSL_get_verify_result(ssl_);
  if (verdict != X509_V_OK) {
    ERR_clear_error();
    error_ = {ErrorKind::permission, fmt::format("the certificate was refused: {} (set ca_file to trust a private CA)",
                                                 X509_verify_cert_error_string(verdict))};
  } else {
    error_ = {ErrorKind::unavailable, openssl_error()};
  }
  return Step::failed;
}

TlsSession::Step TlsSession::handshake() {
  ERR_clear_error();
  errno = 0;
  return step(SSL_do_handshake(ssl_));
}

TlsSession::Step TlsSession::read(std::span<char> into, std::size_t& count) {
  ERR_clear_error();
  errno = 0;
  return step(SSL_read_ex(ssl_, into.data(), into.size(), &count));
}

TlsSession::Step TlsSession::write(std::string_view data, std::size_t& count) {
  ERR_clear_error();
  errno = 0;
  return step(SSL_write_ex(ssl_, data.data(), data.size(), &count));
}

bool TlsSession::has_pending() const { return SSL_has_pending(ssl_) == 1; }

void TlsSession::say_goodbye() {
  if (ended_) return;
  ended_ = true;
  ERR_clear_error();
  (void)SSL_shutdown(ssl_);
  ERR_clear_error();
}

}  // namespace talaria
