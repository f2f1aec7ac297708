// No freed block holds a key: this program's operator delete looks through every block before it goes.
#include <gtest/gtest.h>
#include <malloc.h>
#include <string.h>

#include <cstdlib>
#include <new>
#include <string>

#include "countermark/keys/key_store.h"
#include "keys/body.h"
#include "keys/container.h"
#include "src/base/hex.h"
#include "tests/keys/test_files.h"

namespace {

// The master key of the test as bytes and as digits; what is looked for must not itself be on the heap. Any eight bytes of it, or
// sixteen of its digits, at these places count: a buffer that was used again holds the rest of what stood there before.
struct Needles {
  bool armed = false;
  unsigned char raw[32];
  char hex[64];
  int found = 0;
  long looked_at = 0;
} needles;

void Release(void* p) {
  if (p != nullptr && needles.armed) {
    const size_t size = malloc_usable_size(p);
    ++needles.looked_at;
    for (size_t at = 0; at < 32; at += 8) {
      needles.found += memmem(p, size, needles.raw + at, 8) != nullptr;
      needles.found += memmem(p, size, needles.hex + 2 * at, 16) != nullptr;
    }
  }
  free(p);
}

void* Take(size_t size) {
  if (void* p = malloc(size == 0 ? 1 : size)) return p;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(size_t size) { return Take(size); }
void* operator new[](size_t size) { return Take(size); }
void operator delete(void* p) noexcept { Release(p); }
void operator delete[](void* p) noexcept { Release(p); }
void operator delete(void* p, size_t) noexcept { Release(p); }
void operator delete[](void* p, size_t) noexcept { Release(p); }

namespace countermark {
namespace {

class Wipe : public ::testing::Test {
 protected:
  Wipe() {
    for (size_t i = 0; i < 32; ++i) needles.raw[i] = static_cast<unsigned char>(0x9D + 7 * i);
    HexEncodeInto(needles.raw, needles.hex);
    needles.found = 0;
    needles.looked_at = 0;
    needles.armed = true;
  }
  ~Wipe() override { needles.armed = false; }
  static Secret32 Known() { return Secret32(std::span<const uint8_t, 32>(needles.raw)); }
};

TEST_F(Wipe, TheLookFindsWhatIsNotWiped) {
  // Through volatile: a compiler may drop what is written to memory that is freed next, which is why keys are wiped by OPENSSL_cleanse.
  char* volatile leak = new char[96];
  memcpy(leak + 11, needles.hex + 30, 20);
  delete[] leak;
  EXPECT_EQ(needles.found, 1);
}

TEST_F(Wipe, AStoreLeavesNoKeyInFreedMemory) {
  const TestFolder folder;
  const std::string path = folder / "keys.cmks";
  {
    const SecretBytes passphrase(std::string_view("a passphrase of some length, beyond any small buffer"));
    keys_internal::StoreBody body{"acme", Known(), {"org-1", "org-2"}, {}, Known()};
    body.epochs.push_back({TestRecord(), Known()});
    const absl::StatusOr<std::string> file =
        keys_internal::SealContainer(keys_internal::ContainerType::kKeyStore, keys_internal::EncodeStoreBody(body), passphrase, {16, 1, 1});
    ASSERT_TRUE(file.ok());
    Spill(path, *file);
    absl::StatusOr<KeyStore> store = KeyStore::Open(path, passphrase);
    ASSERT_TRUE(store.ok()) << store.status();
    ASSERT_TRUE(store->AddAccounts({"org-3"}).ok());
    ASSERT_TRUE(store->AddEpoch(TestRecord("2026-12")).ok());
    ASSERT_TRUE(store->Save().ok());
    EXPECT_TRUE(store->Commitments("2026-11").ok());
    EXPECT_TRUE(Secret32::ConstantTimeEqual(*store->SigningKey(), Known()));
  }
  EXPECT_GT(needles.looked_at, 100);
  EXPECT_EQ(needles.found, 0);
}

TEST_F(Wipe, BundlesAndExportsLeaveNoKeyInFreedMemory) {
  const TestFolder folder;
  {
    const SecretBytes passphrase(std::string_view("bundle"));
    const EpochKeys keys{TestRecord(), Known(), {"org-1"}};
    ASSERT_TRUE(WriteBundle(folder / "b", keys, passphrase).ok());
    ASSERT_TRUE(OpenBundle(folder / "b", passphrase).ok());
    ASSERT_TRUE(WriteExport(folder / "e", keys).ok());
    const absl::StatusOr<EpochKeys> read = ReadExport(folder / "e");
    ASSERT_TRUE(read.ok());
    EXPECT_TRUE(Secret32::ConstantTimeEqual(read->epoch_key, Known()));
  }
  EXPECT_EQ(needles.found, 0);
}

TEST_F(Wipe, AnAlteredBodyLeavesNoKeyEither) {
  const keys_internal::StoreBody body{"acme", Known(), {}, {}, std::nullopt};
  {
    const SecretBytes encoded = keys_internal::EncodeStoreBody(body);
    for (size_t cut = 0; cut < encoded.size(); ++cut) {
      EXPECT_FALSE(keys_internal::DecodeStoreBody(encoded.Reveal(SecretAccess()).first(cut)).ok());
    }
  }
  EXPECT_EQ(needles.found, 0);
}

}  // namespace
}  // namespace countermark
