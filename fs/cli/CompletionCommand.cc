#include <cstdio>
#include <memory>

#include "fs/cli/Commands.h"
#include "fs/cli/Completion.h"
#include "fs/cli/Harmless.h"
#include "fs/cli/Report.h"

namespace keyfold {
namespace {

// Each hands the words to `keyfold complete`, which answers with one candidate a line,
// a tab and its description. Without candidates the shell's own, files, take over.
constexpr char kBash[] = R"sh(# keyfold completion bash
_keyfold() {
  local cur words cword
  if declare -F _get_comp_words_by_ref >/dev/null; then
    _get_comp_words_by_ref -n :=, cur words cword
  else
    words=("${COMP_WORDS[@]}") cword=$COMP_CWORD cur=${COMP_WORDS[COMP_CWORD]}
  fi
  # What is offered may be a name that somebody else chose: only such as need no quotes.
  mapfile -t COMPREPLY < <("${words[0]}" complete -- "${words[@]:1:cword}" 2>/dev/null |
    cut -f 1 | grep -E '^[A-Za-z0-9/_.:@=,+-]+$')
  if [ ${#COMPREPLY[@]} -eq 1 ] && [[ ${COMPREPLY[0]} == *: ]]; then compopt -o nospace; fi
  if declare -F __ltrim_colon_completions >/dev/null; then __ltrim_colon_completions "$cur"; fi
}
complete -o bashdefault -o default -F _keyfold keyfold
)sh";

constexpr char kZsh[] = R"sh(#compdef keyfold
# keyfold completion zsh
_keyfold() {
  local line
  local -a lines shown
  lines=("${(@f)$("${words[1]}" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  for line in $lines; do
    shown+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
  done
  if (( $#shown )); then _describe -t values keyfold shown; else _files; fi
}
if [ "$funcstack[1]" = _keyfold ]; then _keyfold "$@"; else compdef _keyfold keyfold; fi
)sh";

constexpr char kFish[] = R"sh(# keyfold completion fish
function __keyfold_candidates
  set -l words (commandline -opc)
  set -l last (commandline -ct)
  $words[1] complete -- $words[2..] "$last" 2>/dev/null
end
complete -c keyfold -f -n 'count (__keyfold_candidates) >/dev/null' -a '(__keyfold_candidates)'
)sh";

const char* ScriptFor(const std::string& shell) {
  if (shell == "bash") return kBash;
  return shell == "zsh" ? kZsh : kFish;
}

int PrintCandidates(const CLI::App& app, const std::vector<std::string>& words) {
  std::string text;
  for (const Candidate& one : Complete(app, words))
    text += Harmless(one.word) + "\t" + Harmless(one.help) + "\n";
  return PrintOrFail(text);
}

}  // namespace

void AddCompletion(CLI::App& app, Run* run) {
  const auto shell = std::make_shared<std::string>();
  CLI::App* completion = app.add_subcommand(
      "completion", "Prints what lets a shell complete commands, keys and users");
  completion->add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion->footer(
      "The package installs it. Else, in ~/.bashrc:\n"
      "  source <(keyfold completion bash)\n"
      "for zsh, in ~/.zshrc behind compinit:\n"
      "  source <(keyfold completion zsh)\n"
      "and for fish:\n"
      "  keyfold completion fish > ~/.config/fish/completions/keyfold.fish");
  completion->callback(
      [shell, run] { *run = [shell] { return PrintOrFail(ScriptFor(*shell)); }; });

  const auto words = std::make_shared<std::vector<std::string>>();
  CLI::App* complete = app.add_subcommand("complete", "For the scripts of completion");
  complete->group("");  // not in the help
  complete->add_option("words", *words, "What is typed");
  complete->callback([&app, words, run] {
    *run = [&app, words] { return PrintCandidates(app, *words); };
  });
}

}  // namespace keyfold
