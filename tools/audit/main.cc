// watermark-audit: the tests that take more than a text.
#include <malloc.h>

#include "tools/audit/commands.h"

int main(int argc, char** argv) {
  // Large blocks go back to the system when they are freed, whichever thread had them: memory is bounded by what is in use.
  mallopt(M_MMAP_THRESHOLD, 8 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  mallopt(M_ARENA_MAX, 4);
  return countermark::audit_tool::RunAudit("watermark-audit", argc, argv, nullptr, {countermark::audit_tool::AddModel});
}
