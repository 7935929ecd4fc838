// TestHeader: the header of a new file of a folder of its own.
#pragma once

#include "fs/format/Header.h"
#include "fs/vault/VaultKeys.h"

namespace keyfold {

inline HeaderSlot TestHeader() {
  HeaderSlot header;
  header.file_id = NewId<FileId>();
  header.home_folder = NewId<FolderId>();
  header.key_id = RandomUuid();
  header.blob = RandomBytes(97);
  return header;
}

}  // namespace keyfold
