// What the console's pages show of the account: its users, groups, roles and policies.
#pragma once

#include "fs/console/Console.h"

namespace keyfold {

// AddAccountOperations adds DescribeAccount {}, which tells what iam.yaml says to who
// may read it. `backend` has its `call` already.
void AddAccountOperations(ConsoleBackend* backend);

}  // namespace keyfold
