// Planted: a target with faults, which shows that the others' would be seen. It must
// fail at each input of its corpus but "harmless".
#include "tests/fuzz/Input.h"

using namespace keyfold;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view fault = AsText(ByteView(data, size));
  const Bytes copy(data, data + size);
  volatile int number = static_cast<int>(size);
  if (fault == "memory") return copy.data()[copy.size() + static_cast<size_t>(number)];
  if (fault == "arithmetic") number = number + INT32_MAX;
  if (fault == "leak") (void)new Bytes(copy);
  Promise(fault != "promise", "an input is not this one");
  return 0;
}
