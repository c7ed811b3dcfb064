# bash completion for weir: source <(weir completion bash)

_weir() {
    local line=${COMP_LINE:0:COMP_POINT} words candidate current head=
    IFS=$' \t\n' read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[${#words[@]} - 1]}
    # bash ends words at colons and equals signs: it wants what follows the last one.
    if [[ $current == *[:=]* ]]; then
        head=${current%"${current##*[:=]}"}
    fi
    COMPREPLY=()
    while IFS= read -r candidate; do
        COMPREPLY+=("${candidate#"$head"}")
    done < <("${words[0]}" complete -- "${words[@]:1}" 2>/dev/null)
}

complete -o default -F _weir weir
