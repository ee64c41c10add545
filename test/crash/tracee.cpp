#include "tracee.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <climits>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace crash {
namespace {

constexpr std::size_t most_bytes = 16UL * 1024 * 1024;  // of one call; nothing of ours writes more at once

std::string proc(pid_t thread, const std::string& name) { return "/proc/" + std::to_string(thread) + "/" + name; }

std::string slurp(const std::string& path) {
  std::string text;
  if (std::FILE* file = std::fopen(path.c_str(), "re"); file != nullptr) {
    char buffer[4096];
    for (std::size_t n = 0; (n = std::fread(buffer, 1, sizeof buffer, file)) > 0;) text.append(buffer, n);
    (void)std::fclose(file);
  }
  return text;
}

std::string memory(pid_t thread, std::uint64_t address, std::size_t size) {
  std::string bytes(std::min(size, most_bytes), '\0');
  iovec here{bytes.data(), bytes.size()};
  iovec there{reinterpret_cast<void*>(address), bytes.size()};
  const auto n = ::process_vm_readv(thread, &here, 1, &there, 1, 0);
  bytes.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
  return bytes;
}

// A string of unknown length may end right before a page that is not there.
std::string string_at(pid_t thread, std::uint64_t address) {
  std::string text;
  while (text.size() < PATH_MAX) {
    const std::size_t room = 4096 - address % 4096;
    const std::string piece = memory(thread, address, room);
    const auto end = piece.find('\0');
    text += piece.substr(0, end);
    if (end != std::string::npos || piece.empty()) break;
    address += piece.size();
  }
  return text;
}

std::string vectors(pid_t thread, std::uint64_t address, std::size_t count) {
  std::string bytes;
  const std::string raw = memory(thread, address, count * sizeof(iovec));
  for (std::size_t i = 0; i + sizeof(iovec) <= raw.size(); i += sizeof(iovec)) {
    iovec one{};
    raw.copy(reinterpret_cast<char*>(&one), sizeof one, i);
    bytes += memory(thread, reinterpret_cast<std::uint64_t>(one.iov_base), one.iov_len);
  }
  return bytes;
}

std::string absolute(pid_t thread, int directory, const std::string& path) {
  if (path.starts_with('/')) return path;
  char buffer[PATH_MAX];
  const std::string base =
      directory == AT_FDCWD ? proc(thread, "cwd") : proc(thread, "fd/" + std::to_string(directory));
  const auto n = ::readlink(base.c_str(), buffer, sizeof buffer);
  return (n < 0 ? std::string() : std::string(buffer, static_cast<std::size_t>(n))) + "/" + path;
}

}  // namespace

bool install_filter() {
  std::vector<sock_filter> program;
  const auto load = [&](std::size_t offset) {
    program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)));
  };
  const auto give = [&](std::uint32_t verdict) { program.push_back(BPF_STMT(BPF_RET | BPF_K, verdict)); };
  load(offsetof(seccomp_data, nr));
  for (const Call& call : calls) {
    if (call.what != What::open) {
      program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call.number), 0, 1));
      give(SECCOMP_RET_TRACE);
      continue;
    }
    // An open that only reads goes by; the flags are open's second argument and openat's third.
    const std::size_t flags = offsetof(seccomp_data, args) + (call.name == "open" ? 1 : 2) * sizeof(std::uint64_t);
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call.number), 0, 4));
    load(flags);
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_WRONLY | O_RDWR | O_CREAT | O_TRUNC, 0, 1));
    give(SECCOMP_RET_TRACE);
    give(SECCOMP_RET_ALLOW);
  }
  give(SECCOMP_RET_ALLOW);
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

SyscallInfo syscall_info(pid_t thread) {
  SyscallInfo info{};
  (void)::ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info);
  return info;
}

pid_t process_of(pid_t thread) {
  const std::string status = slurp(proc(thread, "status"));
  const auto at = status.find("\nTgid:");
  return at == std::string::npos ? thread : std::atoi(status.c_str() + at + 6);
}

std::string descriptor_target(pid_t thread, int descriptor) {
  char buffer[PATH_MAX];
  const auto n = ::readlink(proc(thread, "fd/" + std::to_string(descriptor)).c_str(), buffer, sizeof buffer);
  return n < 0 ? std::string() : std::string(buffer, static_cast<std::size_t>(n));
}

bool is_point(pid_t thread, const Call& call, const std::uint64_t* arguments) {
  if (call.what != What::descriptor) return true;
  const int descriptor = static_cast<int>(arguments[0]);
  const std::string target = descriptor_target(thread, descriptor);
  if (target.starts_with("socket:") || target.starts_with("pipe:")) return true;
  if (call.name != "close" || !target.starts_with('/')) return false;
  const std::string info = slurp(proc(thread, "fdinfo/" + std::to_string(descriptor)));
  const auto at = info.find("flags:");
  return at != std::string::npos && (std::strtoul(info.c_str() + at + 6, nullptr, 8) & O_ACCMODE) != O_RDONLY;
}

std::string describe(pid_t thread, const Call& call, const std::uint64_t* arguments) {
  const auto paths = [&](std::initializer_list<std::pair<int, std::uint64_t>> named, std::uint64_t flags = 0) {
    std::string all = "0 " + std::to_string(flags) + " 0 " + '\0';
    for (const auto& [directory, address] : named)
      all += absolute(thread, directory, string_at(thread, address)) + '\0';
    return all;
  };
  const std::string_view name = call.name;
  const auto* a = arguments;
  if (name == "open") return paths({{AT_FDCWD, a[0]}}, a[1]);
  if (name == "openat") return paths({{static_cast<int>(a[0]), a[1]}}, a[2]);
  if (name == "unlink" || name == "mkdir" || name == "rmdir" || name == "chmod") return paths({{AT_FDCWD, a[0]}});
  if (name == "unlinkat" || name == "mkdirat" || name == "fchmodat") return paths({{static_cast<int>(a[0]), a[1]}});
  if (name == "rename" || name == "link" || name == "symlink") return paths({{AT_FDCWD, a[0]}, {AT_FDCWD, a[1]}});
  if (name == "renameat" || name == "renameat2" || name == "linkat")
    return paths({{static_cast<int>(a[0]), a[1]}, {static_cast<int>(a[2]), a[3]}});
  if (name == "execve" || name == "kill" || name == "tgkill" || name == "exit_group" || name == "symlinkat")
    return {"0 0 0 \0", 7};

  const int descriptor = static_cast<int>(a[0]);
  struct stat file{};
  (void)::stat(proc(thread, "fd/" + std::to_string(descriptor)).c_str(), &file);
  std::uint64_t position = 0;
  bool appends = false;
  if (name == "write" || name == "writev") {
    const std::string info = slurp(proc(thread, "fdinfo/" + std::to_string(descriptor)));
    position = std::strtoull(info.c_str() + 4, nullptr, 10);  // "pos:\t17"
    if (const auto at = info.find("flags:"); at != std::string::npos)
      appends = (std::strtoul(info.c_str() + at + 6, nullptr, 8) & O_APPEND) != 0;
  }
  if (name == "pwrite64") position = a[3];
  if (name == "ftruncate") position = a[1];
  std::string all = std::to_string(file.st_ino) + " " + std::to_string(position) + (appends ? " 1 " : " 0 ") +
                    descriptor_target(thread, descriptor) + '\0';
  if (name == "write" || name == "pwrite64" || name == "sendto") all += memory(thread, a[1], a[2]);
  if (name == "writev" || name == "pwritev") all += vectors(thread, a[1], a[2]);
  if (name == "sendmsg") {
    msghdr header{};
    memory(thread, a[1], sizeof header).copy(reinterpret_cast<char*>(&header), sizeof header);
    all += vectors(thread, reinterpret_cast<std::uint64_t>(header.msg_iov), header.msg_iovlen);
  }
  return all;
}

}  // namespace crash
