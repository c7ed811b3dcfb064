# fish completion for weir: weir completion fish > ~/.config/fish/completions/weir.fish

function __weir_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l weir $words[1]
    set -e words[1]
    $weir complete -- $words "$current" 2>/dev/null
end

complete -c weir -f -a '(__weir_complete)'
complete -c weir -s c -l config -r -F
complete -c weir -l admin-token-file -r -F
complete -c weir -l admin-ca -r -F
complete -c weir -l admin-certificate -r -F
complete -c weir -l admin-key -r -F
