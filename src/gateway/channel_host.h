#pragma once
// The host of the channels: runs each in a task of its own, under the lock of its account (process/credential_lock.h),
// and can take one out or replace it while all others keep their connection.
//
// How a channel leaves: from that moment on its messages are not taken any more. A delivery in progress may end, for a
// while; then the channel is cancelled, and its successor starts only when it is gone, so that one account never has
// two connections. Replies that wait, wait on for the successor; those of a channel that is taken out stay in the
// outbox.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "channel/channel.h"
#include "gateway/delivery.h"
#include "gateway/gateway.h"
#include "process/credential_lock.h"
#include "runtime/task_group.h"

namespace talaria {

class ChannelHost {
 public:
  // `self`: what whoever asks for one of our accounts is told of us.
  ChannelHost(asio::any_io_executor executor, Inbox& inbox, Delivery& delivery, CredentialHolder self,
              TaskGroup::OnBug on_bug);

  // Takes channels in; those of the same name leave first. `gone`: names of those that only leave.
  void change(std::vector<std::unique_ptr<Channel>> fresh, const std::vector<std::string>& gone);
  // From now on channels run; those taken in before start now.
  void start();
  void network_is_back();
  // Until nobody is leaving. False: somebody still is at the deadline.
  Task<bool> settled(Deadline deadline);
  // Cancels all and waits. False: one did not end.
  Task<bool> stop(Deadline deadline);

  [[nodiscard]] std::vector<ChannelReport> reports() const;
  // What the channel of that name has for POST /hooks/NAME; null: there is no such channel, or it takes none. The
  // channel lives as long as this does, also when it is taken out meanwhile: then nothing more of it is journalled.
  [[nodiscard]] std::shared_ptr<HookEndpoint> hook(std::string_view name) const;

 private:
  // What the channel sees of the gateway: nothing any more once it leaves.
  struct Gate final : Inbox {
    explicit Gate(Inbox& i) : inside(i) {}
    Task<Result<Accepted>> accept(InboundEvent event) override;
    Task<Result<Attachment>> keep(std::string name, std::string type, std::string bytes) override;
    Task<Result<std::string>> cursor(std::string channel, std::string name) override;
    Task<Result<>> set_cursor(std::string channel, std::string name, std::string value) override;
    Task<Result<bool>> knows(Route route, std::string message_id) override;
    Task<Result<>> skip(InboundEvent event, std::string why) override;
    void passed_over(std::string_view channel, std::string_view what) override { inside.passed_over(channel, what); }
    void warn(std::string_view channel, std::string_view what) override { inside.warn(channel, what); }
    Inbox& inside;
    bool closed = false;
  };
  struct Hosted {
    Hosted(asio::any_io_executor executor, Inbox& inbox, std::unique_ptr<Channel> c, const TaskGroup::OnBug& on_bug)
        : channel(std::move(c)), gate(inbox), left(executor), tasks(executor, on_bug) {}
    std::shared_ptr<Channel> channel;
    Gate gate;
    std::shared_ptr<Hosted> predecessor;  // while it is leaving
    std::string account_taken;            // who has our account; empty: nobody else
    Event left;
    TaskGroup tasks;
  };

  void take_in(std::unique_ptr<Channel> channel);
  std::shared_ptr<Hosted> dismiss(const std::string& name);
  void run_hosted(const std::shared_ptr<Hosted>& hosted);
  Task<> run(std::shared_ptr<Hosted> hosted);
  Task<CredentialLock> hold_account(std::shared_ptr<Hosted> hosted, Credential credential);
  Task<> leave(std::shared_ptr<Hosted> hosted);
  Task<> carry_over(std::vector<InboundEvent> events);

  asio::any_io_executor executor_;
  Inbox& inbox_;
  Delivery& delivery_;
  const CredentialHolder self_;
  TaskGroup::OnBug on_bug_;
  bool started_ = false;
  std::vector<std::shared_ptr<Hosted>> hosted_;   // in the order of their names
  std::vector<std::shared_ptr<Hosted>> leaving_;  // kept until they are gone
  Event someone_left_;
  TaskGroup chores_;
};

}  // namespace talaria
