// What systemd and the kernel need to bring a service back, with a program that has nothing to do: linked statically,
// it listens on the port of its first argument (127.0.0.1), says READY=1 (sd_notify(3)) and answers every connection
// with an empty 200. bench/run starts it in the gateway's own unit, to tell the gateway's share of a restart from the
// machine's.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace {

void say_ready() {
  const char* path = std::getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path == nullptr || std::strlen(path) >= sizeof address.sun_path) return;
  std::strcpy(address.sun_path, path);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(path));
  if (path[0] == '@') address.sun_path[0] = '\0';
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  constexpr char ready[] = "READY=1";
  ::sendto(fd, ready, sizeof ready - 1, 0, reinterpret_cast<const sockaddr*>(&address), size);
  ::close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<unsigned short>(std::atoi(argc > 1 ? argv[1] : "0")));
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(listener, 16) != 0)
    return 1;
  say_ready();
  while (true) {
    const int client = ::accept(listener, nullptr, nullptr);
    char request[1024];
    if (::read(client, request, sizeof request) > 0) {
      constexpr char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
      if (::write(client, answer, sizeof answer - 1) < 0) return 1;
    }
    ::close(client);
  }
}
