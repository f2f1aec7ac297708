/* C99: what a missing bundle and a missing argument are answered with, and that libllama itself is there to be called. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "countermark/llama.h"

int main(void) {
  int passphrase[2];
  if (pipe(passphrase) != 0 || write(passphrase[1], "secret\n", 7) != 7 || close(passphrase[1]) != 0) return 9;
  char error[512] = "";
  countermark_llama_hook * hook = countermark_llama_open_bundle("no-such-file.bundle", passphrase[0], error, sizeof error);
  if (hook != NULL) return 1;
  printf("%s\n", error);
  if (strstr(error, "no-such-file.bundle") == NULL || strchr(error, '\n') != NULL || strstr(error, "secret") != NULL) return 2;

  char small[8];
  memset(small, 'x', sizeof small);
  if (countermark_llama_open_bundle(NULL, -1, small, 4) != NULL) return 3;
  if (strlen(small) != 3 || small[4] != 'x') return 4; /* cut to the size that was given, and not a byte beyond */

  const countermark_llama_options options = countermark_llama_default_options();
  if (options.struct_size != sizeof options) return 5;

  countermark_llama_counters counters;
  struct llama_sampler * foreign = llama_sampler_init_greedy();
  if (countermark_llama_sampler_counters(foreign, &counters) != -1) return 6;
  llama_sampler_free(foreign);
  countermark_llama_close(NULL);
  return 0;
}
