#include "channel/webhook/inbound.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace talaria::webhook {
namespace {

Report report(std::string body, Scheme scheme = Scheme::github, std::string event = "issues") {
  HookRequest request{.headers = {{"x-github-event", std::move(event)}}, .body = std::move(body), .peer = {}};
  auto read = read_report(scheme, "id-1", request);
  EXPECT_TRUE(read) << read.error().what;
  return read.value_or(Report{});
}

std::string rendered(std::string_view text, const Report& of) {
  const auto pieces = parse_placeholders(text);
  EXPECT_TRUE(pieces) << pieces.error().what;
  return pieces ? render(*pieces, of) : "";
}

TEST(Inbound, EventsHaveTheNamesThatTheirServicesGive) {
  EXPECT_EQ(report(R"({"action":"opened"})").event, "issues.opened");
  EXPECT_EQ(report(R"({"ref":"x"})", Scheme::github, "push").event, "push");
  EXPECT_EQ(report(R"({"object_kind":"merge_request","object_attributes":{"action":"open"}})", Scheme::gitlab).event,
            "merge_request.open");
  EXPECT_EQ(report(R"({"event_name":"project_create"})", Scheme::gitlab).event, "project_create");
  EXPECT_EQ(report(R"({"type":"invoice.paid"})", Scheme::standard).event, "invoice.paid");
  EXPECT_EQ(report(R"({"type":7})", Scheme::standard).event, "");
  EXPECT_EQ(report("[]", Scheme::standard).event, "");
}

TEST(Inbound, AFormCarriesTheJsonInItsPayload) {
  HookRequest request{.headers = {{"content-type", "application/x-www-form-urlencoded"}, {"x-github-event", "push"}},
                      .body = "x=1&payload=%7B%22ref%22%3A%22a+b%25%22%7D&y",
                      .peer = {}};
  const auto read = read_report(Scheme::github, "id", request);
  ASSERT_TRUE(read) << read.error().what;
  EXPECT_EQ(rendered("{{ ref }}", *read), "a b%");
}

TEST(Inbound, WhatIsNoJsonIsRefused) {
  for (const std::string& body : {std::string(), std::string("{"), std::string("{}x"), std::string("\"\xff\""),
                                  std::string(1000, '[') + std::string(1000, ']')}) {
    EXPECT_FALSE(read_report(Scheme::standard, "id", {.headers = {}, .body = body, .peer = {}}));
  }
}

// As JSON.stringify() of JavaScript writes a text that was cut inside an emoji.
TEST(Inbound, HalfACharacterDoesNotLoseTheReport) {
  EXPECT_EQ(report(R"({"action":"x\ud83d"})").event, "issues.x\uFFFD");
}

TEST(Inbound, FiltersNameEventsOrAllTheirActions) {
  const std::vector<std::string> listed{"issues.opened", "push"};
  const auto wanted = [&](std::string_view event) { return is_wanted(Scheme::github, event, listed); };
  EXPECT_TRUE(wanted("issues.opened") && wanted("push") && wanted("push.forced"));
  EXPECT_FALSE(wanted("issues") || wanted("issues.openedx") || wanted("pushed") || wanted("") || wanted("ping"));
  EXPECT_FALSE(is_wanted(Scheme::github, "ping", {}));
  EXPECT_TRUE(is_wanted(Scheme::github, "issues.opened", {}));
  EXPECT_TRUE(is_wanted(Scheme::standard, "ping", {}));
}

TEST(Template, PlacesAreFilledFromTheDocument) {
  const Report of =
      report(R"({"action":"opened","issue":{"title":"It {{ action }} breaks","n":7,"f":1.5,"open":true,"none":null,)"
             R"("labels":[{"name":"bug"},{"name":"ui"}]},"a b":1})");
  EXPECT_EQ(rendered("{{issue.title}} #{{ issue.n }}", of), "It {{ action }} breaks #7") << "filled once";
  EXPECT_EQ(rendered("{{ issue.labels.1.name }}|{{ issue.labels }}", of), "ui|[{\"name\":\"bug\"},{\"name\":\"ui\"}]");
  EXPECT_EQ(rendered("[{{ issue.open }} {{ issue.none }} {{ nobody.there }} {{ issue.title.x }} {{ issue.labels.2 }} "
                     "{{ issue.labels.-1 }}]",
                     of),
            "[true     ]");
  EXPECT_EQ(rendered("{{ @event }} {{ @id }} } }} {", of), "issues.opened id-1 } }} {");
  EXPECT_EQ(rendered("", of), "");
}

TEST(Template, IsBoundedAndClean) {
  const Report of =
      report(fmt::format(R"({{"big":"{}","esc":"a\u001b[31m\u0000\r\nb\tc"}})", std::string(100'000, 'x')));
  EXPECT_LE(rendered("{{ big }}", of).size(), max_value);
  std::string many;
  for (int i = 0; i < 50; ++i) many += "{{ big }}";
  EXPECT_LE(rendered(many, of).size(), max_text);
  EXPECT_EQ(rendered("{{ esc }}", of), "a[31m\nb\tc");
}

TEST(Template, ADescriptionTellsWhatWhereAndByWhom) {
  const Report of =
      report(R"({"action":"opened","repository":{"full_name":"o/r"},"sender":{"login":"alice"},"x":"\u0007"})");
  EXPECT_EQ(describe("github", of, false), "github reports issues.opened in o/r by alice");
  EXPECT_TRUE(describe("github", of, true).ends_with("```")) << describe("github", of, true);
  EXPECT_LE(describe("github", report("\"" + std::string(1'000'000, 'y') + "\""), true).size(), max_text);
}

}  // namespace
}  // namespace talaria::webhook
