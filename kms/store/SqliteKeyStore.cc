// The SQLite implementation of KeyStore: one file, one table per Table.
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>

#include "kms/base/PrivateFile.h"
#include "kms/store/KeyStore.h"
#include "kms/store/SpareRoom.h"

namespace keyfold {

std::string_view TableName(Table table) {
  switch (table) {
    case Table::kKeys:
      return "keys";
    case Table::kKeyVersions:
      return "key_versions";
    case Table::kAliases:
      return "aliases";
    case Table::kGrants:
      return "grants";
    case Table::kImportParameters:
      return "import_parameters";
    case Table::kSettings:
      return "settings";
  }
  std::abort();
}

namespace {

// On disk: never change.
constexpr int kApplicationId = 0x4b464b53;  // "KFKS"
constexpr size_t kMaxIdSize = 512;
constexpr size_t kMaxValueSize = 64 << 20;

struct CloseDb {
  void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
};
struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Db = std::unique_ptr<sqlite3, CloseDb>;
using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

// ResetGuard makes a cached statement ready for its next use and lets go of
// what was bound to it.
class ResetGuard {
 public:
  explicit ResetGuard(sqlite3_stmt* statement) : statement_(statement) {}
  ~ResetGuard() {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }
  ResetGuard(const ResetGuard&) = delete;
  ResetGuard& operator=(const ResetGuard&) = delete;

 private:
  sqlite3_stmt* statement_;
};

std::string CreateTableSql(Table table) {
  return "CREATE TABLE " + std::string(TableName(table)) +
         " (id TEXT PRIMARY KEY NOT NULL, body TEXT NOT NULL,"
         " mac BLOB NOT NULL) STRICT, WITHOUT ROWID";
}

// DbStatus turns SQLite's result `code` into a Status. Reads errno from `db`,
// so it must be called before anything else uses `db`.
Status DbStatus(sqlite3* db, int code, std::string_view what) {
  const int system = db != nullptr ? sqlite3_system_errno(db) : 0;
  const std::string subject = "Key store: " + std::string(what);
  switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
      return OkStatus();
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {Error::kLocked,
              "The key store is in use by another process. Unmount it there, "
              "or use the mounted daemon's socket."};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_SCHEMA:
      return {Error::kCorrupt, subject + ": " + sqlite3_errstr(code) +
                                   ". Restore the key store from a backup."};
    case SQLITE_FULL:
      return Status::FromErrno(ENOSPC, subject);
    case SQLITE_NOMEM:
      return Status::FromErrno(ENOMEM, subject);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return Status::FromErrno(system != 0 ? system : EACCES, subject);
    case SQLITE_CANTOPEN:
      if (code == SQLITE_CANTOPEN_SYMLINK) return Status::FromErrno(ELOOP, subject);
      return Status::FromErrno(system != 0 ? system : EIO, subject);
    case SQLITE_IOERR:
      if (code == SQLITE_IOERR_SHORT_READ || code == SQLITE_IOERR_CORRUPTFS)
        return {Error::kCorrupt, subject + ": " + sqlite3_errstr(code)};
      return Status::FromErrno(system != 0 ? system : EIO, subject);
    case SQLITE_TOOBIG:
      return {Error::kValidation, subject + ": a row is too large"};
    default:
      return {Error::kInternal, subject + ": " + sqlite3_errstr(code)};
  }
}

Status Execute(sqlite3* db, const std::string& sql) {
  return DbStatus(db, sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), sql);
}

Result<Statement> Prepare(sqlite3* db, const std::string& sql, unsigned flags = 0) {
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v3(db, sql.c_str(), static_cast<int>(sql.size()),
                                      flags, &raw, nullptr);
  Statement statement(raw);
  if (code != SQLITE_OK) return DbStatus(db, code, "preparing");
  return statement;
}

std::string ColumnText(sqlite3_stmt* statement, int column) {
  const void* data = sqlite3_column_blob(statement, column);
  const int size = sqlite3_column_bytes(statement, column);
  if (data == nullptr || size <= 0) return {};
  return {static_cast<const char*>(data), static_cast<size_t>(size)};
}

// QueryText returns the first column of the only row of `sql`.
Result<std::string> QueryText(sqlite3* db, const std::string& sql) {
  KF_ASSIGN_OR_RETURN(Statement statement, Prepare(db, sql));
  const int code = sqlite3_step(statement.get());
  if (code == SQLITE_ROW) return ColumnText(statement.get(), 0);
  if (code == SQLITE_DONE)
    return Status(Error::kCorrupt, "Key store: no answer to " + sql);
  return DbStatus(db, code, sql);
}

Result<int> QueryInteger(sqlite3* db, const std::string& sql) {
  KF_ASSIGN_OR_RETURN(Statement statement, Prepare(db, sql));
  const int code = sqlite3_step(statement.get());
  if (code == SQLITE_ROW) return sqlite3_column_int(statement.get(), 0);
  if (code == SQLITE_DONE)
    return Status(Error::kCorrupt, "Key store: no answer to " + sql);
  return DbStatus(db, code, sql);
}

// ResolveParent returns `path` with its folder's links resolved, so that
// SQLITE_OPEN_NOFOLLOW refuses only a link in the last component.
Result<std::string> ResolveParent(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "."
                             : slash == 0               ? "/"
                                                        : path.substr(0, slash);
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name.empty() || name == "." || name == ".." ||
      path.find('\0') != std::string::npos)
    return Status::FromErrno(EINVAL, path);
  std::unique_ptr<char, decltype(&free)> real(realpath(folder.c_str(), nullptr), &free);
  if (real == nullptr) return Status::FromErrno(errno, folder);
  std::string resolved(real.get());
  if (resolved != "/") resolved += '/';
  return resolved + name;
}

Status SyncFolderOf(const std::string& path) {
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Status::FromErrno(errno, folder);
  const int failed = fsync(fd) != 0 ? errno : 0;
  close(fd);
  if (failed != 0) return Status::FromErrno(failed, folder);
  return OkStatus();
}

// OpenLocked connects to the existing file `path` and takes the lock that is
// held until the connection closes.
Result<Db> OpenLocked(const std::string& path) {
  sqlite3* raw = nullptr;
  int code = sqlite3_open_v2(path.c_str(), &raw,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
                                 SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_PRIVATECACHE,
                             nullptr);
  Db db(raw);
  if (code != SQLITE_OK) return DbStatus(db.get(), code, path);
  sqlite3_extended_result_codes(db.get(), 1);
  sqlite3_busy_timeout(db.get(), 0);
  sqlite3_limit(db.get(), SQLITE_LIMIT_LENGTH, static_cast<int>(kMaxValueSize));
  // What the file's schema says must not run code of its choosing.
  for (auto [option, value] :
       {std::pair{SQLITE_DBCONFIG_DEFENSIVE, 1},
        std::pair{SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        std::pair{SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
        std::pair{SQLITE_DBCONFIG_ENABLE_VIEW, 0},
        std::pair{SQLITE_DBCONFIG_DQS_DDL, 0}, std::pair{SQLITE_DBCONFIG_DQS_DML, 0}}) {
    code = sqlite3_db_config(db.get(), option, value, nullptr);
    if (code != SQLITE_OK) return DbStatus(db.get(), code, "configuring");
  }
  // No mmap: a file that another shortens must give an error, not SIGBUS.
  code = sqlite3_exec(
      db.get(),
      "PRAGMA locking_mode=EXCLUSIVE; PRAGMA mmap_size=0; BEGIN EXCLUSIVE; COMMIT;"
      "PRAGMA synchronous=EXTRA; PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY",
      nullptr, nullptr, nullptr);
  if ((code & 0xff) == SQLITE_NOTADB)
    return Status(Error::kNotAStore, path + " is not a Keyfold key store.");
  // What SQLite says of a header it has no word for, or that bids it not to write.
  if ((code & 0xff) == SQLITE_ERROR ||
      ((code & 0xff) == SQLITE_READONLY &&
       ::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) == 0))
    return Status(Error::kCorrupt, path + " is damaged. Restore it from a backup.");
  if (code != SQLITE_OK) return DbStatus(db.get(), code, path);
  return db;
}

// In exclusive locking mode DELETE would only zero the journal's header and
// leave old rows in it; TRUNCATE leaves nothing.
Status UseTruncatedJournal(sqlite3* db) {
  KF_ASSIGN_OR_RETURN(const std::string mode,
                      QueryText(db, "PRAGMA journal_mode=TRUNCATE"));
  if (mode != "truncate")
    return {Error::kInternal, "Key store: the journal mode stays " + mode};
  return Execute(db, "PRAGMA secure_delete=ON");
}

// CheckIdentity returns the format.
Result<int> CheckIdentity(sqlite3* db, const std::string& path) {
  KF_ASSIGN_OR_RETURN(const int application, QueryInteger(db, "PRAGMA application_id"));
  if (application != kApplicationId)
    return Status(Error::kNotAStore, path + " is not a Keyfold key store.");
  KF_ASSIGN_OR_RETURN(const int version, QueryInteger(db, "PRAGMA user_version"));
  if (version > kNewestKeyStoreFormat)
    return Status(Error::kNewerFormat,
                  path + " has key store format " + std::to_string(version) +
                      "; this program knows up to " +
                      std::to_string(kNewestKeyStoreFormat) + ". Use a newer Keyfold.");
  if (version < kOldestKeyStoreFormat)
    return Status(Error::kCorrupt, path + " has no valid format version.");
  return version;
}

// CheckSchema accepts exactly the tables Create makes: no trigger, view, index
// or column more or less.
Status CheckSchema(sqlite3* db) {
  std::map<std::string, std::string> expected;
  for (Table table : kAllTables)
    expected[std::string(TableName(table))] = CreateTableSql(table);
  KF_ASSIGN_OR_RETURN(Statement statement,
                      Prepare(db, "SELECT type, name, sql FROM sqlite_schema"));
  size_t found = 0;
  int code;
  while ((code = sqlite3_step(statement.get())) == SQLITE_ROW) {
    const auto it = expected.find(ColumnText(statement.get(), 1));
    if (ColumnText(statement.get(), 0) != "table" || it == expected.end() ||
        ColumnText(statement.get(), 2) != it->second)
      return {Error::kCorrupt, "The key store's schema was changed."};
    ++found;
  }
  if (code != SQLITE_DONE) return DbStatus(db, code, "reading the schema");
  if (found != expected.size())
    return {Error::kCorrupt, "The key store lacks a table."};
  return OkStatus();
}

Status CheckStructure(sqlite3* db, const std::string& path) {
  // SQLite takes what is missing of the last page for zeros.
  KF_ASSIGN_OR_RETURN(const int pages, QueryInteger(db, "PRAGMA page_count"));
  KF_ASSIGN_OR_RETURN(const int page_size, QueryInteger(db, "PRAGMA page_size"));
  struct stat info;
  if (lstat(path.c_str(), &info) != 0) return Status::FromErrno(errno, path);
  if (info.st_size < off_t{pages} * page_size)
    return {Error::kCorrupt, path + " is truncated. Restore it from a backup."};
  KF_ASSIGN_OR_RETURN(const std::string verdict,
                      QueryText(db, "PRAGMA quick_check(1)"));
  if (verdict != "ok")
    return {Error::kCorrupt,
            "The key store is damaged: " + verdict + ". Restore it from a backup."};
  return OkStatus();
}

class SqliteKeyStore : public KeyStore {
 public:
  static Result<std::unique_ptr<KeyStore>> Make(Db db, const std::string& path,
                                                int format) {
    std::unique_ptr<SqliteKeyStore> store(
        new SqliteKeyStore(std::move(db), path + "-spare", format));
    KF_RETURN_IF_ERROR(store->PrepareAll());
    store->spare_.Take();
    return std::unique_ptr<KeyStore>(std::move(store));
  }

  int format() const override {
    std::lock_guard lock(mutex_);
    return format_;
  }

  // One statement is one transaction.
  Status RaiseFormat(int format) override {
    std::lock_guard lock(mutex_);
    if (format <= format_) return OkStatus();
    const std::string raise = "PRAGMA user_version=" + std::to_string(format);
    Status status = Execute(db_.get(), raise);
    if (status.sys_errno() == ENOSPC && spare_.Give())
      status = Execute(db_.get(), raise);
    if (status.ok()) format_ = format;
    return status;
  }

  Result<std::vector<Row>> ReadAll(Table table) override {
    std::lock_guard lock(mutex_);
    sqlite3_stmt* select = For(table).select.get();
    ResetGuard guard(select);
    std::vector<Row> rows;
    int code;
    while ((code = sqlite3_step(select)) == SQLITE_ROW) {
      Row row;
      row.id = ColumnText(select, 0);
      row.body = ColumnText(select, 1);
      const auto* mac = static_cast<const uint8_t*>(sqlite3_column_blob(select, 2));
      const int size = sqlite3_column_bytes(select, 2);
      if (mac != nullptr && size > 0) row.mac.assign(mac, mac + size);
      rows.push_back(std::move(row));
    }
    if (code != SQLITE_DONE) return DbStatus(db_.get(), code, "reading");
    return rows;
  }

  Status Commit(const std::vector<Change>& changes) override {
    for (const Change& change : changes) {
      const Row& row = change.row;
      if (row.id.empty() || row.id.size() > kMaxIdSize)
        return {Error::kValidation, "A key store row's id has 1 to 512 bytes."};
      if (row.body.size() + row.mac.size() + kMaxIdSize > kMaxValueSize)
        return {Error::kValidation, "A key store row is too large."};
    }
    std::lock_guard lock(mutex_);
    Status status = TryCommit(changes);
    if (status.sys_errno() == ENOSPC && spare_.Give()) status = TryCommit(changes);
    if (status.ok()) spare_.Take();
    return status;
  }

 private:
  struct Statements {
    Statement select, put, remove;
  };

  SqliteKeyStore(Db db, std::string spare, int format)
      : db_(std::move(db)), spare_(std::move(spare)), format_(format) {}

  Statements& For(Table table) { return statements_[static_cast<size_t>(table)]; }

  Status PrepareAll() {
    for (Table table : kAllTables) {
      const std::string name(TableName(table));
      Statements& statements = For(table);
      KF_ASSIGN_OR_RETURN(
          statements.select,
          Prepare(db_.get(), "SELECT id, body, mac FROM " + name + " ORDER BY id",
                  SQLITE_PREPARE_PERSISTENT));
      KF_ASSIGN_OR_RETURN(
          statements.put,
          Prepare(db_.get(),
                  "INSERT INTO " + name +
                      " (id, body, mac) VALUES (?1, ?2, ?3)"
                      " ON CONFLICT (id) DO UPDATE SET body = ?2, mac = ?3",
                  SQLITE_PREPARE_PERSISTENT));
      KF_ASSIGN_OR_RETURN(statements.remove,
                          Prepare(db_.get(), "DELETE FROM " + name + " WHERE id = ?1",
                                  SQLITE_PREPARE_PERSISTENT));
    }
    return OkStatus();
  }

  Status TryCommit(const std::vector<Change>& changes) {
    KF_RETURN_IF_ERROR(Execute(db_.get(), "BEGIN IMMEDIATE"));
    Status status = OrNoMemory([&] { return ApplyAll(changes); });
    if (status.ok()) status = Execute(db_.get(), "COMMIT");
    if (!status.ok() && sqlite3_get_autocommit(db_.get()) == 0)
      // A rollback that fails leaves the journal for the next open; SQLite
      // refuses to write until then.
      (void)sqlite3_exec(db_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
    return status;
  }

  Status ApplyAll(const std::vector<Change>& changes) {
    for (const Change& change : changes) KF_RETURN_IF_ERROR(Apply(change));
    return OkStatus();
  }

  Status Apply(const Change& change) {
    Statements& statements = For(change.table);
    sqlite3_stmt* statement =
        change.remove ? statements.remove.get() : statements.put.get();
    ResetGuard guard(statement);
    const Row& row = change.row;
    int code = sqlite3_bind_text64(statement, 1, row.id.data(), row.id.size(),
                                   SQLITE_STATIC, SQLITE_UTF8);
    if (code == SQLITE_OK && !change.remove)
      code = sqlite3_bind_text64(statement, 2, row.body.data(), row.body.size(),
                                 SQLITE_STATIC, SQLITE_UTF8);
    if (code == SQLITE_OK && !change.remove)
      // A null pointer would bind NULL instead of an empty value.
      code = row.mac.empty() ? sqlite3_bind_zeroblob(statement, 3, 0)
                             : sqlite3_bind_blob64(statement, 3, row.mac.data(),
                                                   row.mac.size(), SQLITE_STATIC);
    if (code != SQLITE_OK) return DbStatus(db_.get(), code, "binding a row");
    code = sqlite3_step(statement);
    if (code != SQLITE_DONE) return DbStatus(db_.get(), code, "writing a row");
    return OkStatus();
  }

  mutable std::mutex mutex_;  // guards all below
  Db db_;
  SpareRoom spare_;
  int format_;
  std::array<Statements, std::size(kAllTables)> statements_;
};

Result<std::unique_ptr<KeyStore>> FillNew(const std::string& path) {
  KF_ASSIGN_OR_RETURN(Db db, OpenLocked(path));
  KF_RETURN_IF_ERROR(UseTruncatedJournal(db.get()));
  std::string sql =
      "BEGIN EXCLUSIVE; PRAGMA application_id=" + std::to_string(kApplicationId) +
      "; PRAGMA user_version=" + std::to_string(kKeyStoreFormat) + ";";
  for (Table table : kAllTables) sql += CreateTableSql(table) + ";";
  sql += "COMMIT";
  const int code = sqlite3_exec(db.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return DbStatus(db.get(), code, "creating " + path);
  KF_RETURN_IF_ERROR(SyncFolderOf(path));
  return SqliteKeyStore::Make(std::move(db), path, kKeyStoreFormat);
}

}  // namespace

Result<std::unique_ptr<KeyStore>> CreateSqliteKeyStore(const std::string& path) {
  KF_ASSIGN_OR_RETURN(const std::string resolved, ResolveParent(path));
  const int fd =
      open(resolved.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return Status::FromErrno(errno, path);
  const int failed =
      fchmod(fd, 0600) != 0 ? errno : GiveToOwnerOfParent(resolved, fd).sys_errno();
  // Closed before SQLite opens it: closing it later would drop SQLite's locks.
  close(fd);
  Result<std::unique_ptr<KeyStore>> store =
      failed != 0 ? Status::FromErrno(failed, path) : FillNew(resolved);
  if (!store.ok()) {
    unlink((resolved + "-journal").c_str());
    unlink((resolved + "-spare").c_str());
    unlink(resolved.c_str());
  }
  return store;
}

Result<std::unique_ptr<KeyStore>> OpenSqliteKeyStore(const std::string& path) {
  KF_ASSIGN_OR_RETURN(const std::string resolved, ResolveParent(path));
  // lstat, not open: closing a second descriptor would drop the locks of a
  // store this process already has open.
  struct stat info;
  if (lstat(resolved.c_str(), &info) != 0) return Status::FromErrno(errno, path);
  if (S_ISLNK(info.st_mode)) return Status::FromErrno(ELOOP, path);
  if (!S_ISREG(info.st_mode))
    return Status(Error::kNotAStore, path + " is not a regular file.");
  // SQLite would make a new one of it.
  if (info.st_size == 0)
    return Status(Error::kCorrupt, path + " is empty. Restore it from a backup.");
  KF_ASSIGN_OR_RETURN(Db db, OpenLocked(resolved));
  KF_ASSIGN_OR_RETURN(const int format, CheckIdentity(db.get(), path));
  KF_RETURN_IF_ERROR(CheckStructure(db.get(), resolved));
  KF_RETURN_IF_ERROR(CheckSchema(db.get()));
  KF_RETURN_IF_ERROR(UseTruncatedJournal(db.get()));
  return SqliteKeyStore::Make(std::move(db), resolved, format);
}

}  // namespace keyfold
