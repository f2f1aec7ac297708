// Epoch bundles and exported keys: what leaves the key store, and nothing more.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "countermark/keys/key_store.h"
#include "keys/container.h"
#include "src/base/hex.h"
#include "tests/keys/test_files.h"

namespace countermark {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

EpochKeys Keys() { return EpochKeys{TestRecord(), Secret32::Random(), {"org-1", "org-2"}}; }

TEST(Bundle, ComesBackAsItWasWritten) {
  const TestFolder folder;
  const EpochKeys keys = Keys();
  const SecretBytes passphrase(std::string_view("for the hosts"));
  ASSERT_TRUE(WriteBundle(folder / "b.cmkb", keys, passphrase).ok());
  EXPECT_EQ(ModeOf(folder / "b.cmkb"), 0600u);
  const absl::StatusOr<EpochKeys> read = OpenBundle(folder / "b.cmkb", passphrase);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(Secret32::ConstantTimeEqual(read->epoch_key, keys.epoch_key));
  EXPECT_EQ(read->record.CanonicalJson(), keys.record.CanonicalJson());
  EXPECT_THAT(read->accounts, ElementsAre("org-1", "org-2"));
}

TEST(Bundle, Refusals) {
  const TestFolder folder;
  const std::string path = folder / "b.cmkb";
  const SecretBytes passphrase(std::string_view("for the hosts")), wrong(std::string_view("for the ghosts"));
  ASSERT_TRUE(WriteBundle(path, Keys(), passphrase).ok());
  const std::string bytes = Slurp(path);
  EXPECT_TRUE(absl::IsAlreadyExists(WriteBundle(path, Keys(), passphrase)));
  EXPECT_EQ(Slurp(path), bytes);
  EXPECT_TRUE(absl::IsPermissionDenied(OpenBundle(path, wrong).status()));
  EXPECT_TRUE(absl::IsNotFound(OpenBundle(folder / "x", passphrase).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(WriteBundle(folder / "x", Keys(), SecretBytes())));
  const absl::Status as_store = KeyStore::Open(path, passphrase).status();
  EXPECT_TRUE(absl::IsDataLoss(as_store));
  EXPECT_THAT(std::string(as_store.message()), HasSubstr("it is an epoch bundle"));
  // A store whose type byte is changed into a bundle's does not open: the header is authenticated.
  ASSERT_TRUE(KeyStore::Create(folder / "s", passphrase, "acme").ok());
  std::string store = Slurp(folder / "s");
  store[9] = 2;
  Spill(folder / "s", store);
  EXPECT_TRUE(absl::IsPermissionDenied(OpenBundle(folder / "s", passphrase).status()));
  chmod(path.c_str(), 0644);
  EXPECT_TRUE(absl::IsFailedPrecondition(OpenBundle(path, passphrase).status()));
}

TEST(Export, WritesDigitsAndTheCanonicalRecord) {
  const TestFolder folder;
  const EpochKeys keys = Keys();
  ASSERT_TRUE(WriteExport(folder / "key", keys).ok());
  EXPECT_EQ(Slurp(folder / "key"), HexEncode({keys.epoch_key.Reveal(SecretAccess()), 32}) + "\n");
  EXPECT_EQ(Slurp(folder / "key.json"), keys.record.CanonicalJson());
  EXPECT_EQ(ModeOf(folder / "key"), 0600u);
  const absl::StatusOr<EpochKeys> read = ReadExport(folder / "key");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(Secret32::ConstantTimeEqual(read->epoch_key, keys.epoch_key));
  EXPECT_EQ(read->record.CanonicalJson(), keys.record.CanonicalJson());
  EXPECT_TRUE(read->accounts.empty());
}

TEST(Export, BothFilesOrNeither) {
  const TestFolder folder;
  Spill(folder / "key", "taken");
  EXPECT_TRUE(absl::IsAlreadyExists(WriteExport(folder / "key", Keys())));
  EXPECT_EQ(folder.Count(), 1u);
  EXPECT_EQ(Slurp(folder / "key"), "taken");
  Spill(folder / "other.json", "taken");
  EXPECT_TRUE(absl::IsAlreadyExists(WriteExport(folder / "other", Keys())));
  EXPECT_EQ(folder.Count(), 2u);
}

TEST(Export, ABareKeyNeedsNoRecord) {
  const TestFolder folder;
  const EpochKeys keys = Keys();
  ASSERT_TRUE(WriteExport(folder / "key", keys).ok());
  std::filesystem::remove(folder / "key.json");
  EXPECT_TRUE(absl::IsNotFound(ReadExport(folder / "key").status()));
  EXPECT_TRUE(Secret32::ConstantTimeEqual(*ReadBareKey(folder / "key"), keys.epoch_key));
  Spill(folder / "upper", std::string(64, 'A'));   // no newline, capitals: still 64 digits
  EXPECT_TRUE(ReadBareKey(folder / "upper").ok());
  for (const std::string& bad : {std::string(), std::string("\n"), std::string(63, 'a'), std::string(65, 'a'), std::string(64, 'a') + "\n\n",
                                 std::string(64, 'a') + " ", std::string(63, 'a') + "g", std::string(64, 'a') + "\n" + std::string(64, 'b')}) {
    Spill(folder / "bad", bad);
    const absl::Status status = ReadBareKey(folder / "bad").status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << bad;
    EXPECT_EQ(std::string(status.message()).find("aaaa"), std::string::npos);   // never quotes the file
  }
  chmod((folder / "key").c_str(), 0640);
  EXPECT_TRUE(absl::IsFailedPrecondition(ReadBareKey(folder / "key").status()));
}

TEST(Export, ABrokenRecordNamesItsFile) {
  const TestFolder folder;
  ASSERT_TRUE(WriteExport(folder / "key", Keys()).ok());
  Spill(folder / "key.json", "{}");
  const absl::Status status = ReadExport(folder / "key").status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("key.json"));
}

}  // namespace
}  // namespace countermark
