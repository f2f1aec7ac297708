// The derived keys of accounts: those of the key tree, no more of them than asked for, the latest kept.
#include <gtest/gtest.h>

#include "src/server/account_keys.h"
#include "tests/sampling/fixture.h"

namespace countermark::server {
namespace {

std::shared_ptr<const OpenedEpoch> EpochOf(int accounts) {
  EpochKeys keys = testing::MakeEpoch(Scheme::kGumbel, 100);
  keys.accounts.clear();
  for (int i = 0; i < accounts; ++i) keys.accounts.push_back("org-" + std::to_string(i));
  return std::make_shared<const OpenedEpoch>(std::move(keys));
}

TEST(AccountKeys, AreThoseOfTheKeyTree) {
  const auto epoch = EpochOf(20);
  AccountKeys accounts(epoch, 4);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 20; ++i) {
      const std::string label = "org-" + std::to_string(i);
      const absl::StatusOr<Secret32> key = accounts.KeyOf(label);
      ASSERT_TRUE(key.ok()) << key.status();
      EXPECT_TRUE(Secret32::ConstantTimeEqual(*key, DeriveAccountKey(epoch->keys.epoch_key, label)));
      EXPECT_LE(accounts.size(), 4u);
    }
  }
  EXPECT_EQ(accounts.derived(), 60u);  // in turn, each has gone before it comes again
}

TEST(AccountKeys, TheLatestStay) {
  AccountKeys accounts(EpochOf(20), 4);
  for (const char* label : {"org-0", "org-1", "org-2", "org-3"}) ASSERT_TRUE(accounts.KeyOf(label).ok());
  EXPECT_EQ(accounts.derived(), 4u);
  ASSERT_TRUE(accounts.KeyOf("org-0").ok());  // asked for again: org-1 is the eldest now
  ASSERT_TRUE(accounts.KeyOf("org-4").ok());
  EXPECT_EQ(accounts.derived(), 5u);
  for (const char* label : {"org-0", "org-2", "org-3", "org-4"}) ASSERT_TRUE(accounts.KeyOf(label).ok());
  EXPECT_EQ(accounts.derived(), 5u);
  ASSERT_TRUE(accounts.KeyOf("org-1").ok());
  EXPECT_EQ(accounts.derived(), 6u);
}

TEST(AccountKeys, OfOneThereIsOne) {
  AccountKeys accounts(EpochOf(3), 1);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(accounts.KeyOf("org-2").ok());
  EXPECT_EQ(accounts.derived(), 1u);
  EXPECT_EQ(accounts.size(), 1u);
}

TEST(AccountKeys, UnknownOnesAreNotKept) {
  AccountKeys accounts(EpochOf(3), 4);
  EXPECT_TRUE(absl::IsNotFound(accounts.KeyOf("org-3").status()));
  EXPECT_TRUE(absl::IsNotFound(accounts.KeyOf("").status()));
  const absl::Status status = accounts.KeyOf(std::string(5000, 'x')).status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_LT(status.message().size(), 300u);
  EXPECT_EQ(accounts.size(), 0u);
}

}  // namespace
}  // namespace countermark::server
