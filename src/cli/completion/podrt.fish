# SPDX-License-Identifier: Apache-2.0
# podrt's completion for fish, as `podrt completion fish` prints it.
function __podrt_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l lines ($words[1] __complete -- $words[2..-1] 2>/dev/null)
    if test (count $lines) -gt 1
        printf '%s\n' $lines[2..-1]
    end
    switch "$lines[1]"
        case files
            __fish_complete_path (commandline -ct)
        case directories
            __fish_complete_directories (commandline -ct)
    end
end
complete -c podrt -f -a '(__podrt_complete)'
