// Account tickets against known answers that tests/vectors/make_ticket.py made with Python's hashlib alone, and the file of their key.
#include "src/server/ticket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "src/base/hex.h"

namespace countermark::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const nlohmann::json& Vectors() {
  static const nlohmann::json vectors = nlohmann::json::parse(std::ifstream(COUNTERMARK_TEST_VECTORS "/ticket-v1.json"));
  return vectors;
}

TicketKey Key() {
  std::array<uint8_t, Secret32::kSize> bytes;
  EXPECT_TRUE(HexDecodeInto(Vectors()["key"].get<std::string>(), bytes));
  return TicketKey(Secret32(bytes));
}

TEST(Ticket, KnownAnswers) {
  ASSERT_GE(Vectors()["valid"].size(), 5u);
  for (const auto& c : Vectors()["valid"]) {
    const Ticket ticket{c["account"], c["request"], c["expiry"]};
    const auto minted = Key().Mint(ticket);
    ASSERT_TRUE(minted.ok()) << minted.status();
    EXPECT_EQ(*minted, c["ticket"].get<std::string>());
    const auto read = Key().Verify(*minted, ticket.expiry - 1);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->account, ticket.account);
    EXPECT_EQ(read->request, ticket.request);
    EXPECT_EQ(read->expiry, ticket.expiry);
  }
}

TEST(Ticket, ForgedOnesAreRefused) {
  ASSERT_GE(Vectors()["forged"].size(), 30u);
  for (const auto& c : Vectors()["forged"]) {
    const auto read = Key().Verify(c["ticket"].get<std::string>(), Vectors()["now"]);
    EXPECT_TRUE(absl::IsPermissionDenied(read.status())) << c["name"] << ": " << read.status();
  }
}

TEST(Ticket, StaleOnesAreToldFromForgedOnes) {
  ASSERT_GE(Vectors()["stale"].size(), 2u);
  for (const auto& c : Vectors()["stale"]) {
    EXPECT_TRUE(absl::IsDeadlineExceeded(Key().Verify(c["ticket"].get<std::string>(), c["now"]).status())) << c["name"];
  }
}

TEST(Ticket, NoChangedCharacterIsBelieved) {
  const std::string ticket = *Key().Mint({"org-1", "label", 2000000000});
  std::mt19937 draw(1);
  for (int i = 0; i < 5000; ++i) {
    std::string changed = ticket;
    changed[draw() % changed.size()] = static_cast<char>(draw());
    if (changed == ticket) continue;
    EXPECT_TRUE(absl::IsPermissionDenied(Key().Verify(changed, 1).status())) << i;
  }
  for (size_t n = 0; n < ticket.size(); ++n) EXPECT_FALSE(Key().Verify(ticket.substr(0, n), 1).ok()) << n;
  EXPECT_FALSE(Key().Verify(std::string(ticket) + '\0', 1).ok());
}

TEST(Ticket, WhatCannotBeMinted) {
  const std::vector<Ticket> wrong = {{"", "r", 9}, {"a", "", 9}, {std::string(255, 'a'), "r", 9}, {"a", std::string(129, 'r'), 9}, {std::string("a\0b", 3), "r", 9},
                                     {"a", "r", 0}, {"a", "r", 1000000000000}, {"\xff", "r", 9}, {"\xed\xa0\x80", "r", 9}, {"\xc0\xaf", "r", 9}};
  for (const Ticket& ticket : wrong) EXPECT_TRUE(absl::IsInvalidArgument(Key().Mint(ticket).status()));
}

class TicketFile : public testing::Test {
 protected:
  std::string Write(const std::string& text, mode_t mode = 0600) {
    const std::string path = testing::TempDir() + "/ticket-" + std::to_string(++made_) + ".key";
    std::ofstream(path, std::ios::binary) << text;
    chmod(path.c_str(), mode);
    return path;
  }
  int made_ = 0;
};

TEST_F(TicketFile, IsReadWithOrWithoutItsNewline) {
  const std::string digits = Vectors()["key"];
  for (const std::string& text : {digits, digits + "\n"}) {
    const auto key = TicketKey::FromFile(Write(text));
    ASSERT_TRUE(key.ok()) << key.status();
    EXPECT_TRUE(key->Verify(*Key().Mint({"a", "r", 9}), 1).ok());
  }
}

TEST_F(TicketFile, BrokenOnesAreRefusedWithoutTheirContent) {
  const std::string digits = Vectors()["key"];
  for (const std::string& text : {std::string(), digits.substr(1), digits + "0", digits + "\n\n", " " + digits, "g" + digits.substr(1), digits + " "}) {
    const auto key = TicketKey::FromFile(Write(text));
    ASSERT_TRUE(absl::IsInvalidArgument(key.status())) << key.status();
    EXPECT_THAT(std::string(key.status().message()), Not(HasSubstr(digits.substr(2, 20))));
    EXPECT_THAT(std::string(key.status().message()), HasSubstr("64 hex digits"));
  }
}

TEST_F(TicketFile, OneThatOthersMayReadIsRefused) {
  EXPECT_TRUE(absl::IsFailedPrecondition(TicketKey::FromFile(Write(Vectors()["key"], 0640)).status()));
  EXPECT_TRUE(absl::IsNotFound(TicketKey::FromFile(testing::TempDir() + "/no-such.key").status()));
}

}  // namespace
}  // namespace countermark::server
