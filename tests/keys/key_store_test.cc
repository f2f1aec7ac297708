// The key store as its users see it: made, filled, saved, opened again; what is refused; what a full disk or a second writer leaves.
#include "countermark/keys/key_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/keys/test_files.h"

namespace countermark {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

SecretBytes Passphrase(std::string_view text = "correct horse") { return SecretBytes(text); }

KeyStore FullStore(const std::string& path) {
  absl::StatusOr<KeyStore> store = KeyStore::Create(path, Passphrase(), "acme");
  EXPECT_TRUE(store.ok()) << store.status();
  EXPECT_TRUE(store->AddEpoch(TestRecord("2026-11")).ok());
  EXPECT_TRUE(store->AddAccounts({"org-1", "org-2/user-α"}).ok());
  EXPECT_TRUE(store->CreateSigningKey().ok());
  EXPECT_TRUE(store->Save().ok());
  return *std::move(store);
}

TEST(KeyStore, ComesBackAsItWasSaved) {
  const TestFolder folder;
  const std::string path = folder / "keys.cmks";
  const KeyStore store = FullStore(path);
  EXPECT_EQ(ModeOf(path), 0600u);
  EXPECT_EQ(folder.Count(), 1u);   // no temporary left
  const absl::StatusOr<KeyStore> again = KeyStore::Open(path, Passphrase());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->tenant(), "acme");
  EXPECT_THAT(again->accounts(), ElementsAre("org-1", "org-2/user-α"));
  ASSERT_EQ(again->epochs().size(), 1u);
  EXPECT_EQ(again->epochs()[0].CanonicalJson(), TestRecord().CanonicalJson());
  const EpochKeys before = *store.Epoch("2026-11"), after = *again->Epoch("2026-11");
  EXPECT_TRUE(Secret32::ConstantTimeEqual(before.epoch_key, after.epoch_key));
  EXPECT_TRUE(Secret32::ConstantTimeEqual(before.Account("org-1"), DeriveAccountKey(after.epoch_key, "org-1")));
  EXPECT_TRUE(Secret32::ConstantTimeEqual(before.Base(), DeriveBaseKey(after.epoch_key)));
  EXPECT_TRUE(Secret32::ConstantTimeEqual(before.Route(), DeriveRouteKey(after.epoch_key)));
  EXPECT_TRUE(Secret32::ConstantTimeEqual(*store.SigningKey(), *again->SigningKey()));
  EXPECT_TRUE(after.HasAccount("org-2/user-α"));
  EXPECT_FALSE(after.HasAccount("org-2"));
}

TEST(KeyStore, RefusesWhatItShould) {
  const TestFolder folder;
  const std::string path = folder / "keys.cmks";
  KeyStore store = FullStore(path);
  const std::string bytes = Slurp(path);
  EXPECT_TRUE(absl::IsAlreadyExists(KeyStore::Create(path, Passphrase(), "acme").status()));
  EXPECT_EQ(Slurp(path), bytes);
  EXPECT_TRUE(absl::IsPermissionDenied(KeyStore::Open(path, Passphrase("wrong")).status()));
  EXPECT_TRUE(absl::IsNotFound(KeyStore::Open(folder / "nothing", Passphrase()).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(KeyStore::Open(folder / ".", Passphrase()).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(KeyStore::Create(folder / "x", Passphrase(""), "acme").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(KeyStore::Create(folder / "x", Passphrase(), "").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(KeyStore::Create(folder / "x", Passphrase(), "a\xFF").status()));
  EXPECT_TRUE(absl::IsNotFound(KeyStore::Create(folder / "no/such/folder", Passphrase(), "acme").status()));
  EXPECT_EQ(folder.Count(), 1u);
  EXPECT_TRUE(absl::IsAlreadyExists(store.AddEpoch(TestRecord("2026-11"))));
  EpochRecord bad = TestRecord("2026-12");
  bad.mark.window = 9;
  EXPECT_TRUE(absl::IsInvalidArgument(store.AddEpoch(bad)));
  EXPECT_TRUE(absl::IsAlreadyExists(store.AddAccounts({"org-3", "org-1"})));
  EXPECT_TRUE(absl::IsAlreadyExists(store.AddAccounts({"org-3", "org-3"})));
  EXPECT_TRUE(absl::IsInvalidArgument(store.AddAccounts({"org-3", ""})));
  EXPECT_EQ(store.accounts().size(), 2u);   // all or none
  EXPECT_TRUE(absl::IsAlreadyExists(store.CreateSigningKey()));
  const absl::Status unknown = store.Epoch("2027-01").status();
  EXPECT_TRUE(absl::IsNotFound(unknown));
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("it has '2026-11'"));
  for (const mode_t open_to_others : {0640, 0604, 0660, 0644, 0620}) {
    chmod(path.c_str(), open_to_others);
    const absl::Status status = KeyStore::Open(path, Passphrase()).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("chmod 600"));
  }
}

TEST(KeyStore, TheRecordsTenantIsTheStores) {
  const TestFolder folder;
  absl::StatusOr<KeyStore> store = KeyStore::Create(folder / "keys.cmks", Passphrase(), "other");
  ASSERT_TRUE(store.ok());
  ASSERT_TRUE(store->AddEpoch(TestRecord()).ok());
  EXPECT_EQ(store->epochs()[0].tenant, "other");
}

TEST(KeyStore, CommitmentsBindEachKeyOnItsOwn) {
  const TestFolder folder;
  KeyStore store = FullStore(folder / "keys.cmks");
  ASSERT_TRUE(store.AddEpoch(TestRecord("2026-12")).ok());
  const std::vector<KeyStore::Commitment> commitments = *store.Commitments("2026-11");
  const EpochKeys keys = *store.Epoch("2026-11");
  ASSERT_EQ(commitments.size(), 4u);
  const std::string record = keys.record.CanonicalJson();
  EXPECT_EQ(commitments[0].name, "base");
  EXPECT_EQ(commitments[0].commitment, CommitToKey(commitments[0].salt, keys.Base(), record));
  EXPECT_EQ(commitments[1].name, "route");
  EXPECT_EQ(commitments[1].commitment, CommitToKey(commitments[1].salt, keys.Route(), record));
  EXPECT_EQ(commitments[2].name, "account:org-1");
  EXPECT_EQ(commitments[2].commitment, CommitToKey(commitments[2].salt, keys.Account("org-1"), record));
  EXPECT_EQ(commitments[3].commitment, CommitToKey(commitments[3].salt, keys.Account("org-2/user-α"), record));
  std::set<Digest32> salts;
  for (const char* epoch : {"2026-11", "2026-12"}) {
    const std::vector<KeyStore::Commitment> of_epoch = *store.Commitments(epoch);
    for (const KeyStore::Commitment& commitment : of_epoch) salts.insert(commitment.salt);
  }
  EXPECT_EQ(salts.size(), 8u);
  // Opened again, and after a further account: the published ones stand.
  ASSERT_TRUE(store.AddAccounts({"org-3"}).ok());
  ASSERT_TRUE(store.Save().ok());
  const std::vector<KeyStore::Commitment> later = *KeyStore::Open(folder / "keys.cmks", Passphrase())->Commitments("2026-11");
  ASSERT_EQ(later.size(), 5u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(later[i].commitment, commitments[i].commitment);
}

TEST(KeyStore, ASecondWriterIsToldAndNothingIsLost) {
  const TestFolder folder;
  const std::string path = folder / "keys.cmks";
  FullStore(path);
  KeyStore a = *KeyStore::Open(path, Passphrase()), b = *KeyStore::Open(path, Passphrase());
  ASSERT_TRUE(a.AddAccounts({"from-a"}).ok());
  ASSERT_TRUE(b.AddAccounts({"from-b"}).ok());
  ASSERT_TRUE(a.Save().ok());
  EXPECT_TRUE(absl::IsAborted(b.Save()));
  ASSERT_TRUE(a.AddAccounts({"from-a-again"}).ok());
  EXPECT_TRUE(a.Save().ok());   // the one who saved last goes on
  EXPECT_THAT(KeyStore::Open(path, Passphrase())->accounts(), ElementsAre("org-1", "org-2/user-α", "from-a", "from-a-again"));
  EXPECT_EQ(folder.Count(), 1u);
}

TEST(KeyStore, OfManyWritersAtOnceExactlyThoseWhoWereToldSoSucceed) {
  const TestFolder folder;
  const std::string path = folder / "keys.cmks";
  FullStore(path);
  constexpr int kWriters = 3;
  std::vector<KeyStore> stores;
  for (int i = 0; i < kWriters; ++i) stores.push_back(*KeyStore::Open(path, Passphrase()));
  std::vector<absl::Status> results(kWriters);
  std::vector<std::thread> threads;
  for (int i = 0; i < kWriters; ++i) {
    threads.emplace_back([&, i] {
      results[i] = stores[i].AddAccounts({"writer-" + std::to_string(i)});
      if (results[i].ok()) results[i] = stores[i].Save();
    });
  }
  for (std::thread& thread : threads) thread.join();
  const KeyStore after = *KeyStore::Open(path, Passphrase());
  int saved = 0;
  for (int i = 0; i < kWriters; ++i) {
    EXPECT_TRUE(results[i].ok() || absl::IsAborted(results[i])) << results[i];
    saved += results[i].ok();
    const std::string label = "writer-" + std::to_string(i);
    EXPECT_EQ(std::count(after.accounts().begin(), after.accounts().end(), label), results[i].ok() ? 1 : 0);
  }
  EXPECT_EQ(saved, 1);
}

TEST(KeyStore, ASymbolicLinkIsFollowed) {
  const TestFolder folder;
  FullStore(folder / "real.cmks");
  std::filesystem::create_symlink(folder / "real.cmks", folder / "link.cmks");
  KeyStore store = *KeyStore::Open(folder / "link.cmks", Passphrase());
  ASSERT_TRUE(store.AddAccounts({"org-9"}).ok());
  ASSERT_TRUE(store.Save().ok());
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link.cmks"));
  EXPECT_EQ(KeyStore::Open(folder / "real.cmks", Passphrase())->accounts().size(), 3u);
}

// Runs `work` in a child where no file may grow beyond `limit` bytes, as on a full disk, and gives its exit status.
template <typename Work>
int WithFileLimit(rlim_t limit, Work work) {
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit small = {limit, limit};
    setrlimit(RLIMIT_FSIZE, &small);
    _exit(work());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(KeyStore, AFullDiskLeavesTheOldState) {
  const TestFolder folder;
  const std::string path = folder / "keys.cmks";
  FullStore(path);
  const std::string before = Slurp(path);
  for (const rlim_t limit : {0, 200}) {   // nothing, or a part of the new file
    EXPECT_EQ(WithFileLimit(limit,
                            [&] {
                              absl::StatusOr<KeyStore> store = KeyStore::Open(path, Passphrase());
                              if (!store.ok() || !store->AddAccounts({"org-9"}).ok()) return 1;
                              return absl::IsResourceExhausted(store->Save()) ? 0 : 2;
                            }),
              0);
    EXPECT_EQ(Slurp(path), before);
    EXPECT_EQ(folder.Count(), 1u);
    EXPECT_EQ(WithFileLimit(limit, [&] { return absl::IsResourceExhausted(KeyStore::Create(folder / "new", Passphrase(), "acme").status()) ? 0 : 1; }), 0);
    EXPECT_EQ(folder.Count(), 1u);
  }
}

TEST(KeyStore, ASaveWhoseFileIsGoneSaysSo) {
  const TestFolder folder;
  KeyStore store = FullStore(folder / "keys.cmks");
  std::filesystem::remove(folder / "keys.cmks");
  EXPECT_TRUE(absl::IsNotFound(store.Save()));
  EXPECT_EQ(folder.Count(), 0u);
}

TEST(KeyStore, NoErrorTextHoldsAPassphrase) {
  const TestFolder folder;
  FullStore(folder / "keys.cmks");
  const absl::Status status = KeyStore::Open(folder / "keys.cmks", Passphrase("hunter2hunter2")).status();
  EXPECT_EQ(std::string(status.ToString()).find("hunter2"), std::string::npos);
}

}  // namespace
}  // namespace countermark
