// C++: an epoch's bundle by the library of keys, then rows through the C interface; most tokens carry the mark, and the counters say so.
#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "countermark/countermark.h"
#include "countermark/keys/key_store.h"

int main() {
  countermark::EpochRecord record;
  record.tenant = "acme";
  record.epoch = "2026-11";
  record.vocabulary = 500;
  record.tokenizer_sha256 = std::string(64, 'a');
  record.first_use = "2026-11-01T00:00:00Z";
  record.last_use = "2026-11-30T23:59:59Z";
  const countermark::EpochKeys epoch = {record, countermark::Secret32::Random(), {"org-1"}};
  const std::string passphrase = "correct horse";
  std::remove("consumer.cmkb");
  if (!countermark::WriteBundle("consumer.cmkb", epoch, countermark::SecretBytes(std::string_view(passphrase))).ok()) return 1;

  int64_t now = 1795000000;  // in November 2026
  const countermark_keys_options clock = {sizeof clock, [](void* user) { return *static_cast<int64_t*>(user); }, &now};
  countermark_keys* keys = countermark_keys_new(&clock);
  const auto give = [](void* user, char* buffer, size_t size) {
    const std::string& text = *static_cast<const std::string*>(user);
    return static_cast<int>(text.copy(buffer, size));
  };
  const countermark_passphrase source = {sizeof source, -1, give, const_cast<std::string*>(&passphrase)};
  countermark_hook* hook = nullptr;
  if (countermark_keys_open_bundle(keys, "consumer.cmkb", &source) != COUNTERMARK_OK || countermark_hook_create(keys, nullptr, &hook) != COUNTERMARK_OK) {
    std::printf("%s\n", countermark_keys_message(keys));
    return 2;
  }
  countermark_keys_free(keys);
  countermark_request request = countermark_default_request();
  request.account = "org-1";
  if (countermark_begin(hook, 7, &request, nullptr) != COUNTERMARK_OK) return 3;

  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 2);
  for (int step = 0; step < 300; ++step) {
    std::vector<float> logits(500);
    for (float& z : logits) z = normal(random);
    const int32_t slot = 7;
    int32_t token = -1;
    countermark_batch batch = countermark_default_batch();
    batch.rows = 1;
    batch.slots = &slot;
    batch.logits = logits.data();
    batch.columns = 500;
    batch.row_stride = 500;
    batch.out_tokens = &token;
    batch.commit = 1;
    if (countermark_sample(hook, &batch) != COUNTERMARK_OK || token < 0 || token >= 500) return 4;
  }
  countermark_metrics metrics = {};
  metrics.struct_size = sizeof metrics;
  if (countermark_metrics_read(hook, &metrics) != COUNTERMARK_OK) return 5;
  std::printf("%llu of 300 tokens marked\n", static_cast<unsigned long long>(metrics.marked));
  countermark_hook_free(hook);
  return metrics.marked >= 290 && metrics.start == 2 && metrics.fault == 0 ? 0 : 6;
}
