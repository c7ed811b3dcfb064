#compdef weir
# zsh completion for weir: weir completion zsh > a directory of $fpath/_weir

_weir() {
    local -a candidates
    candidates=("${(@f)$("${words[1]}" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    candidates=(${candidates:#})
    if (( ${#candidates} )); then
        compadd -- "${candidates[@]}"
    else
        _files
    fi
}

if [[ ${funcstack[1]} == _weir ]]; then
    _weir "$@"
else
    compdef _weir weir
fi
