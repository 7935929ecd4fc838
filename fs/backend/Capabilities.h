// Capabilities: a thread's sets of capabilities, capabilities(7).
//
// Raw system calls: those of a library would be for the whole process. Plain values.
#pragma once

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <initializer_list>

namespace keyfold {

class Capabilities {
 public:
  // The calling thread's; aborts if they can't be told.
  static Capabilities OfThread() {
    Capabilities c;
    auto header = Header();
    if (::syscall(SYS_capget, &header, c.sets_) != 0) std::abort();
    return c;
  }
  // Those that let a thread pass over a file's owner and mode: what
  // setfsuid(2) takes when it leaves root.
  Capabilities WithoutFilesystem() const {
    Capabilities c = *this;
    for (unsigned capability :
         {CAP_CHOWN, CAP_MKNOD, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,
          CAP_FSETID, CAP_LINUX_IMMUTABLE, CAP_MAC_OVERRIDE})
      c.Drop(capability);
    return c;
  }
  // None holds no capability.
  static Capabilities None() { return {}; }
  bool Has(unsigned capability) const {
    return (sets_[CAP_TO_INDEX(capability)].permitted & CAP_TO_MASK(capability)) != 0;
  }
  bool Empty() const { return (sets_[0].permitted | sets_[1].permitted) == 0; }
  // AddFrom adds one if `other` has it.
  void AddFrom(const Capabilities& other, unsigned capability) {
    const size_t index = CAP_TO_INDEX(capability);
    const uint32_t bit = other.sets_[index].permitted & CAP_TO_MASK(capability);
    sets_[index].permitted |= bit;
    sets_[index].effective |= bit;
  }
  // GiveUp leaves one out for good.
  void GiveUp(unsigned capability) {
    Drop(capability);
    sets_[CAP_TO_INDEX(capability)].permitted &= ~CAP_TO_MASK(capability);
  }
  // Take makes the calling thread have these; false if it may not.
  [[nodiscard]] bool Take() const {
    auto header = Header();
    return ::syscall(SYS_capset, &header, sets_) == 0;
  }

 private:
  static __user_cap_header_struct Header() { return {_LINUX_CAPABILITY_VERSION_3, 0}; }
  void Drop(unsigned capability) {
    sets_[CAP_TO_INDEX(capability)].effective &= ~CAP_TO_MASK(capability);
  }
  __user_cap_data_struct sets_[_LINUX_CAPABILITY_U32S_3]{};
};

}  // namespace keyfold
