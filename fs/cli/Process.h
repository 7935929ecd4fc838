// This process: what it must not leak, and going into the background.
#pragma once

#include <functional>
#include <vector>

namespace keyfold {

// Harden keeps secrets out of core dumps and other processes' reach, makes new
// files private, and raises the limits on open files and locked memory.
void Harden();
// CloseInherited closes descriptors above 2 that came from the caller; to be
// called before this program opened any.
void CloseInherited();
// CloseAllBut closes descriptors above 2 that are not among `kept`.
void CloseAllBut(std::vector<int> kept);
// Detach leaves the terminal and the folder this process was started from.
void Detach();

// RunInBackground runs `serve` in a child and returns when the child called
// `ready`, or ended: then with its exit code. The child keeps its terminal until
// it calls `ready`, so that it can ask and complain. Call it before any thread
// exists. In the child it does not return.
int RunInBackground(
    const std::function<int(const std::function<void()>& ready)>& serve);

}  // namespace keyfold
