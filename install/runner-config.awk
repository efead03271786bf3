# Makes one runner of a GitLab Runner config.toml use pipeline-lock as its custom executor; install.sh calls it.
#
#   mode=list   prints a line for each [[runners]]: its number, name and executor, with tabs between
#   mode=edit   prints the file with runner number `wanted` changed; needs `command` (the binary), and `builds` and
#               `cache`, the folders to set where the runner has none
#
# TOML is read as far as it is needed here: tables, keys, and where a value ends (strings and lists over several
# lines). Whatever is not one of our keys comes out as it went in, comments and blank lines too. What can't be
# edited safely ends with exit code 3 and a line on standard error. Works with mawk, gawk and busybox.

BEGIN {
    BASIC = "\"\"\""
    LITERAL = "'''"
    quote = ""
    depth = 0
    runners = 0
    table = ""
}

{
    text = $0
    sub(/\r$/, "", text)
    line[NR] = $0
    if (quote != "" || depth > 0) {
        kind[NR] = "more"
        scan(text)
    } else if (text ~ /^[ \t]*(#.*)?$/) {
        kind[NR] = "other"
    } else if (text ~ /^[ \t]*\[/) {
        kind[NR] = "table"
        table = table_name(text)
        if (text ~ /^[ \t]*\[\[/ && table == "runners")
            begins[++runners] = NR
    } else {
        kind[NR] = "key"
        key[NR] = key_name(text)
        scan(substr(text, index(text, "=") + 1))
        note(text)
    }
    of_table[NR] = table
    # A table that is no runner's may stand between the parts of one.
    of_runner[NR] = table == "runners" || table ~ /^runners\./ ? runners : 0
}

END {
    if (failed)
        exit 3
    if (quote != "" || depth > 0)
        refuse("its last value is never closed")
    if (mode == "list")
        list()
    else
        edit()
}

function refuse(why) {
    print why > "/dev/stderr"
    failed = 1
    exit 3
}

# Goes on through a value: which string over several lines is open at its end, and how many brackets are.
function scan(text,    at, c, three) {
    for (at = 1; at <= length(text); at++) {
        c = substr(text, at, 1)
        three = substr(text, at, 3)
        if (quote != "") {
            if (quote == BASIC && c == "\\") {
                at++
            } else if (three == quote) {
                at += 2
                # A string may end with one or two quotes of its own.
                while (substr(text, at + 1, 1) == substr(quote, 1, 1))
                    at++
                quote = ""
            }
        } else if (c == "#") {
            return
        } else if (three == BASIC || three == LITERAL) {
            quote = three
            at += 2
        } else if (c == "\"" || c == "'") {
            at = string_end(text, at)
        } else if (c == "[" || c == "{") {
            depth++
        } else if (c == "]" || c == "}") {
            depth--
        }
    }
}

# Where the string of one line that begins at `at` ends.
function string_end(text, at,    open, c) {
    open = substr(text, at, 1)
    for (at++; at <= length(text); at++) {
        c = substr(text, at, 1)
        if (c == open)
            return at
        if (open == "\"" && c == "\\")
            at++
    }
    return at
}

function table_name(text) {
    sub(/^[ \t]*\[\[?/, "", text)
    sub(/\].*$/, "", text)
    gsub(/[ \t"']/, "", text)
    return text
}

function key_name(text) {
    text = substr(text, 1, index(text, "=") - 1)
    gsub(/[ \t"']/, "", text)
    return text
}

# The text of a value that is a string of one line; anything else is nothing.
function string_value(text,    at) {
    text = substr(text, index(text, "=") + 1)
    sub(/^[ \t]*/, "", text)
    if (text !~ /^["']/)
        return ""
    at = string_end(text, 1)
    return substr(text, 2, at - 2)
}

# Remembers what is asked for later.
function note(text) {
    if (table == "" && key[NR] == "runners")
        refuse("its runners are written as one inline value, not as [[runners]] tables")
    if (table != "runners")
        return
    if (key[NR] == "custom" || key[NR] ~ /^custom\./)
        inline_custom[runners] = NR
    if (key[NR] == "name" || key[NR] == "executor" || key[NR] == "builds_dir" || key[NR] == "cache_dir") {
        value[runners, key[NR]] = string_value(text)
        place[runners, key[NR]] = NR
    }
}

function list(    i) {
    for (i = 1; i <= runners; i++)
        print i "\t" value[i, "name"] "\t" value[i, "executor"]
}

function edit(    i, last, custom, custom_last) {
    if (inline_custom[wanted])
        refuse("line " inline_custom[wanted] ": the runner's `custom` is written inline, not as [runners.custom]")
    set_wishes()
    for (i = begins[wanted]; i <= NR; i++) {
        if (of_runner[i] != wanted)
            continue
        if (kind[i] != "other")
            last = i
        if (of_table[i] == "runners.custom") {
            if (kind[i] == "table")
                custom = i
            if (kind[i] != "other")
                custom_last = i
        }
    }
    for (i = 1; i <= NR; i++) {
        if (of_runner[i] == wanted && of_table[i] == "runners")
            body_line(i)
        else if (of_runner[i] == wanted && of_table[i] == "runners.custom")
            custom_line(i)
        else
            print line[i]
        if (custom && i == custom_last)
            missing_keys()
        if (!custom && i == last) {
            print ""
            print "  [runners.custom]"
            missing_keys()
        }
    }
}

function set_wishes(    n, stages, i) {
    n = split("config prepare run cleanup", stages, " ")
    wishes = 0
    for (i = 1; i <= n; i++) {
        wish(stages[i] "_exec", "\"" command "\"")
        wish(stages[i] "_args", "[\"executor\", \"" stages[i] "\"]")
    }
}

function wish(name, wanted_value) {
    wish_name[++wishes] = name
    wish_value[name] = wanted_value
}

function missing_keys(    i) {
    for (i = 1; i <= wishes; i++)
        if (!done[wish_name[i]])
            print "    " wish_name[i] " = " wish_value[wish_name[i]]
}

# A line of the runner itself: only its executor changes; folders that it lacks come behind that.
function body_line(i,    text) {
    text = line[i]
    if (kind[i] == "key" && key[i] == "executor" && value[wanted, "executor"] != "custom") {
        if (match(text, /=[ \t]*("[^"]*"|'[^']*')/) == 0)
            refuse("line " i ": the executor is no plain string")
        text = substr(text, 1, RSTART) " \"custom\"" substr(text, RSTART + RLENGTH)
    }
    print text
    if (i == (place[wanted, "executor"] ? place[wanted, "executor"] : begins[wanted])) {
        if (!place[wanted, "executor"])
            print "  executor = \"custom\""
        if (!place[wanted, "builds_dir"])
            print "  builds_dir = \"" builds "\""
        if (!place[wanted, "cache_dir"])
            print "  cache_dir = \"" cache "\""
    }
}

# A line of [runners.custom]: our keys get our values, all else stays.
function custom_line(i,    name, old, indent) {
    name = key[i]
    if (kind[i] == "more" && replaced)
        return
    replaced = 0
    if (kind[i] != "key" || !(name in wish_value)) {
        print line[i]
        return
    }
    done[name] = 1
    old = substr(line[i], index(line[i], "=") + 1)
    sub(/[ \t]*(#.*)?\r?$/, "", old)
    gsub(/[ \t]/, "", old)
    indent = wish_value[name]
    gsub(/[ \t]/, "", indent)
    if (old == indent) {
        print line[i]
        return
    }
    replaced = 1
    indent = line[i]
    sub(/[^ \t].*$/, "", indent)
    print indent name " = " wish_value[name]
}
