# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_kube9_query_global_optspecs
    string join \n db= o/format= timeout= tz= h/help V/version
end

function __fish_kube9_query_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_kube9_query_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_kube9_query_using_subcommand
    set -l cmd (__fish_kube9_query_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c kube9-query -n "__fish_kube9_query_needs_command" -l db -d 'Database file [env: KUBE9_DB] [default: /data/kube9.db]' -r -F
complete -c kube9-query -n "__fish_kube9_query_needs_command" -s o -l format -d 'Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]' -r -f -a "json\t''
yaml\t''
table\t''
wide\t''
jsonl\t''
csv\t''
kubectl-patch\t''
md\t''"
complete -c kube9-query -n "__fish_kube9_query_needs_command" -l timeout -d 'Time limit of a query in seconds, 1 to 30' -r
complete -c kube9-query -n "__fish_kube9_query_needs_command" -l tz -d 'Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]' -r
complete -c kube9-query -n "__fish_kube9_query_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kube9-query -n "__fish_kube9_query_needs_command" -s V -l version -d 'Print version'
complete -c kube9-query -n "__fish_kube9_query_needs_command" -f -a "status" -d 'Show whether the record is complete and current'
complete -c kube9-query -n "__fish_kube9_query_needs_command" -f -a "changes" -d 'List changes of objects, newest first'
complete -c kube9-query -n "__fish_kube9_query_needs_command" -f -a "object" -d 'Show, compare and explain recorded states of objects'
complete -c kube9-query -n "__fish_kube9_query_needs_command" -f -a "findings" -d 'List findings of the rules, open and closed, newest first'
complete -c kube9-query -n "__fish_kube9_query_needs_command" -f -a "story" -d 'Tell what happened to a workload: failures, what preceded them, what they hit, suspects'
complete -c kube9-query -n "__fish_kube9_query_needs_command" -f -a "impact" -d 'Show what depends on an object: pods, workloads, Services, Ingresses'
complete -c kube9-query -n "__fish_kube9_query_needs_command" -f -a "events" -d 'List, show, follow, count, chart and export events'
complete -c kube9-query -n "__fish_kube9_query_needs_command" -f -a "completions" -d 'Print a shell completion script'
complete -c kube9-query -n "__fish_kube9_query_needs_command" -f -a "pause" -d 'Wait for a signal (the main process of the query container)'
complete -c kube9-query -n "__fish_kube9_query_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand status" -l db -d 'Database file [env: KUBE9_DB] [default: /data/kube9.db]' -r -F
complete -c kube9-query -n "__fish_kube9_query_using_subcommand status" -s o -l format -d 'Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]' -r -f -a "json\t''
yaml\t''
table\t''
wide\t''
jsonl\t''
csv\t''
kubectl-patch\t''
md\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand status" -l timeout -d 'Time limit of a query in seconds, 1 to 30' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand status" -l tz -d 'Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l db -d 'Database file [env: KUBE9_DB] [default: /data/kube9.db]' -r -F
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -s o -l format -d 'Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]' -r -f -a "json\t''
yaml\t''
table\t''
wide\t''
jsonl\t''
csv\t''
kubectl-patch\t''
md\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l timeout -d 'Time limit of a query in seconds, 1 to 30' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l tz -d 'Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l type -d 'Type: cluster, operator, insight, assessment, health, system' -r -f -a "cluster\t''
operator\t''
insight\t''
assessment\t''
health\t''
system\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l severity -d 'Severity: info, warning, error, critical; warning+ for warning and above' -r -f -a "info\t''
warning\t''
error\t''
critical\t''
warning+\t''
error+\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l since -d 'Show events that were still occurring at or after TIME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l until -d 'Show events that started before TIME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l object-kind -d 'Kind of the object, or a short name as in kubectl' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -s N -l object-namespace -d 'Namespace of the object' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l object-name -d 'Name of the object' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l for -d 'The object as KIND/NAME or KIND/NAME/NAMESPACE' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l reason -d 'Reason of the Event, change or finding; case-insensitive' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l owner -d 'Controller of the object as NAME or KIND/NAME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l node -d 'Node on which the event occurred' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l container -d 'Container of the pod' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l search -d 'Text in title, description, object name or reason; case-insensitive' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l by -d 'Who made the change: the manager that the object names' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l path -d 'A changed field; * stands for one segment of the path, ** for any number' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l op -d 'What happened to the object: created, changed, deleting, deleted' -r -f -a "created\t''
changed\t''
deleting\t''
deleted\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l cause -d 'Why the object was deleted' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l to-value -d 'The new value of a field' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -s n -l limit -d 'Number of rows, 1 to 1000' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l offset -d 'Skip the newest N rows' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l after -d 'Continue after the previous page' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l risky -d 'Only fields whose changes often break something, such as images, resources and selectors'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -l follow -d 'Follow new changes'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand changes" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and not __fish_seen_subcommand_from get history diff blame help" -l db -d 'Database file [env: KUBE9_DB] [default: /data/kube9.db]' -r -F
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and not __fish_seen_subcommand_from get history diff blame help" -s o -l format -d 'Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]' -r -f -a "json\t''
yaml\t''
table\t''
wide\t''
jsonl\t''
csv\t''
kubectl-patch\t''
md\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and not __fish_seen_subcommand_from get history diff blame help" -l timeout -d 'Time limit of a query in seconds, 1 to 30' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and not __fish_seen_subcommand_from get history diff blame help" -l tz -d 'Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and not __fish_seen_subcommand_from get history diff blame help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and not __fish_seen_subcommand_from get history diff blame help" -f -a "get" -d 'Print an object as it was at a time'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and not __fish_seen_subcommand_from get history diff blame help" -f -a "history" -d 'List the recorded states of an object, newest first'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and not __fish_seen_subcommand_from get history diff blame help" -f -a "diff" -d 'Show what differs between two times, two objects, or an object and a file'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and not __fish_seen_subcommand_from get history diff blame help" -f -a "blame" -d 'Print an object with the author and time of each line'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and not __fish_seen_subcommand_from get history diff blame help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from get" -l db -d 'Database file [env: KUBE9_DB] [default: /data/kube9.db]' -r -F
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from get" -s o -l format -d 'Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]' -r -f -a "json\t''
yaml\t''
table\t''
wide\t''
jsonl\t''
csv\t''
kubectl-patch\t''
md\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from get" -l timeout -d 'Time limit of a query in seconds, 1 to 30' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from get" -l tz -d 'Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from get" -s N -l object-namespace -d 'Namespace of the object; not needed if only one has it' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from get" -l at -d 'The time; now without it' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from get" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from history" -l db -d 'Database file [env: KUBE9_DB] [default: /data/kube9.db]' -r -F
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from history" -s o -l format -d 'Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]' -r -f -a "json\t''
yaml\t''
table\t''
wide\t''
jsonl\t''
csv\t''
kubectl-patch\t''
md\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from history" -l timeout -d 'Time limit of a query in seconds, 1 to 30' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from history" -l tz -d 'Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from history" -s N -l object-namespace -d 'Namespace of the object; not needed if only one has it' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from history" -l since -d 'Show states that came into force at or after TIME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from history" -l until -d 'Show states that came into force before TIME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from history" -s n -l limit -d 'Number of states, 1 to 1000' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from history" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from diff" -l db -d 'Database file [env: KUBE9_DB] [default: /data/kube9.db]' -r -F
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from diff" -s o -l format -d 'Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]' -r -f -a "json\t''
yaml\t''
table\t''
wide\t''
jsonl\t''
csv\t''
kubectl-patch\t''
md\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from diff" -l timeout -d 'Time limit of a query in seconds, 1 to 30' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from diff" -l tz -d 'Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from diff" -s N -l object-namespace -d 'Namespace of the objects' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from diff" -l from -d 'The earlier time' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from diff" -l to -d 'The later time; now without it' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from diff" -l at -d 'The time at which two objects, or an object and a file, are compared; now without it' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from diff" -s f -l file -d 'A manifest (YAML or JSON) to compare with; - reads stdin' -r -F
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from diff" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from blame" -l db -d 'Database file [env: KUBE9_DB] [default: /data/kube9.db]' -r -F
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from blame" -s o -l format -d 'Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]' -r -f -a "json\t''
yaml\t''
table\t''
wide\t''
jsonl\t''
csv\t''
kubectl-patch\t''
md\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from blame" -l timeout -d 'Time limit of a query in seconds, 1 to 30' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from blame" -l tz -d 'Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from blame" -s N -l object-namespace -d 'Namespace of the object; not needed if only one has it' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from blame" -l at -d 'The time; now without it' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from blame" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from help" -f -a "get" -d 'Print an object as it was at a time'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from help" -f -a "history" -d 'List the recorded states of an object, newest first'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from help" -f -a "diff" -d 'Show what differs between two times, two objects, or an object and a file'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from help" -f -a "blame" -d 'Print an object with the author and time of each line'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand object; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -l db -d 'Database file [env: KUBE9_DB] [default: /data/kube9.db]' -r -F
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -s o -l format -d 'Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]' -r -f -a "json\t''
yaml\t''
table\t''
wide\t''
jsonl\t''
csv\t''
kubectl-patch\t''
md\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -l timeout -d 'Time limit of a query in seconds, 1 to 30' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -l tz -d 'Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -l type -d 'Type: cluster, operator, insight, assessment, health, system' -r -f -a "cluster\t''
operator\t''
insight\t''
assessment\t''
health\t''
system\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -l severity -d 'Severity: info, warning, error, critical; warning+ for warning and above' -r -f -a "info\t''
warning\t''
error\t''
critical\t''
warning+\t''
error+\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -l since -d 'Show events that were still occurring at or after TIME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -l until -d 'Show events that started before TIME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -l object-kind -d 'Kind of the object, or a short name as in kubectl' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -s N -l object-namespace -d 'Namespace of the object' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -l object-name -d 'Name of the object' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -l for -d 'The object as KIND/NAME or KIND/NAME/NAMESPACE' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -l reason -d 'Reason of the Event, change or finding; case-insensitive' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -l owner -d 'Controller of the object as NAME or KIND/NAME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -l node -d 'Node on which the event occurred' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -l container -d 'Container of the pod' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -l search -d 'Text in title, description, object name or reason; case-insensitive' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -l state -d 'State of the findings: open, closed' -r -f -a "open\t''
closed\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -l by -d 'Count the findings by rule, owner or namespace' -r -f -a "rule\t''
owner\t''
namespace\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -s n -l limit -d 'Number of rows, 1 to 1000' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand findings" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand story" -l db -d 'Database file [env: KUBE9_DB] [default: /data/kube9.db]' -r -F
complete -c kube9-query -n "__fish_kube9_query_using_subcommand story" -s o -l format -d 'Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]' -r -f -a "json\t''
yaml\t''
table\t''
wide\t''
jsonl\t''
csv\t''
kubectl-patch\t''
md\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand story" -l timeout -d 'Time limit of a query in seconds, 1 to 30' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand story" -l tz -d 'Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand story" -s N -l object-namespace -d 'Namespace of the object; not needed if only one has it' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand story" -l since -d 'Begin at TIME instead of an hour before the last failure' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand story" -l until -d 'End at TIME; a failure that began later is not shown' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand story" -l all -d 'Print all lines instead of the 30 that matter most'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand story" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand impact" -l db -d 'Database file [env: KUBE9_DB] [default: /data/kube9.db]' -r -F
complete -c kube9-query -n "__fish_kube9_query_using_subcommand impact" -s o -l format -d 'Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]' -r -f -a "json\t''
yaml\t''
table\t''
wide\t''
jsonl\t''
csv\t''
kubectl-patch\t''
md\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand impact" -l timeout -d 'Time limit of a query in seconds, 1 to 30' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand impact" -l tz -d 'Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand impact" -s N -l object-namespace -d 'Namespace of the object; not needed if only one has it' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand impact" -l at -d 'The time; now without it' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand impact" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and not __fish_seen_subcommand_from list get watch stats timeline export help" -l db -d 'Database file [env: KUBE9_DB] [default: /data/kube9.db]' -r -F
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and not __fish_seen_subcommand_from list get watch stats timeline export help" -s o -l format -d 'Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]' -r -f -a "json\t''
yaml\t''
table\t''
wide\t''
jsonl\t''
csv\t''
kubectl-patch\t''
md\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and not __fish_seen_subcommand_from list get watch stats timeline export help" -l timeout -d 'Time limit of a query in seconds, 1 to 30' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and not __fish_seen_subcommand_from list get watch stats timeline export help" -l tz -d 'Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and not __fish_seen_subcommand_from list get watch stats timeline export help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and not __fish_seen_subcommand_from list get watch stats timeline export help" -f -a "list" -d 'List events, newest first'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and not __fish_seen_subcommand_from list get watch stats timeline export help" -f -a "get" -d 'Show one event'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and not __fish_seen_subcommand_from list get watch stats timeline export help" -f -a "watch" -d 'Follow new and updated events'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and not __fish_seen_subcommand_from list get watch stats timeline export help" -f -a "stats" -d 'Count events by group'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and not __fish_seen_subcommand_from list get watch stats timeline export help" -f -a "timeline" -d 'Chart events over time, with changes and gaps'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and not __fish_seen_subcommand_from list get watch stats timeline export help" -f -a "export" -d 'Export all matching events as JSON lines or CSV'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and not __fish_seen_subcommand_from list get watch stats timeline export help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -l db -d 'Database file [env: KUBE9_DB] [default: /data/kube9.db]' -r -F
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -s o -l format -d 'Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]' -r -f -a "json\t''
yaml\t''
table\t''
wide\t''
jsonl\t''
csv\t''
kubectl-patch\t''
md\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -l timeout -d 'Time limit of a query in seconds, 1 to 30' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -l tz -d 'Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -l type -d 'Type: cluster, operator, insight, assessment, health, system' -r -f -a "cluster\t''
operator\t''
insight\t''
assessment\t''
health\t''
system\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -l severity -d 'Severity: info, warning, error, critical; warning+ for warning and above' -r -f -a "info\t''
warning\t''
error\t''
critical\t''
warning+\t''
error+\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -l since -d 'Show events that were still occurring at or after TIME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -l until -d 'Show events that started before TIME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -l object-kind -d 'Kind of the object, or a short name as in kubectl' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -s N -l object-namespace -d 'Namespace of the object' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -l object-name -d 'Name of the object' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -l for -d 'The object as KIND/NAME or KIND/NAME/NAMESPACE' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -l reason -d 'Reason of the Event, change or finding; case-insensitive' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -l owner -d 'Controller of the object as NAME or KIND/NAME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -l node -d 'Node on which the event occurred' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -l container -d 'Container of the pod' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -l search -d 'Text in title, description, object name or reason; case-insensitive' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -s n -l limit -d 'Number of rows, 1 to 1000' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -l offset -d 'Skip the newest N rows' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -l after -d 'Continue after the previous page' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -l fields -d 'Columns to print, comma-separated' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from get" -l db -d 'Database file [env: KUBE9_DB] [default: /data/kube9.db]' -r -F
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from get" -s o -l format -d 'Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]' -r -f -a "json\t''
yaml\t''
table\t''
wide\t''
jsonl\t''
csv\t''
kubectl-patch\t''
md\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from get" -l timeout -d 'Time limit of a query in seconds, 1 to 30' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from get" -l tz -d 'Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from get" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from watch" -l db -d 'Database file [env: KUBE9_DB] [default: /data/kube9.db]' -r -F
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from watch" -s o -l format -d 'Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]' -r -f -a "json\t''
yaml\t''
table\t''
wide\t''
jsonl\t''
csv\t''
kubectl-patch\t''
md\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from watch" -l timeout -d 'Time limit of a query in seconds, 1 to 30' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from watch" -l tz -d 'Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from watch" -l type -d 'Type: cluster, operator, insight, assessment, health, system' -r -f -a "cluster\t''
operator\t''
insight\t''
assessment\t''
health\t''
system\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from watch" -l severity -d 'Severity: info, warning, error, critical; warning+ for warning and above' -r -f -a "info\t''
warning\t''
error\t''
critical\t''
warning+\t''
error+\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from watch" -l since -d 'Show events that were still occurring at or after TIME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from watch" -l until -d 'Show events that started before TIME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from watch" -l object-kind -d 'Kind of the object, or a short name as in kubectl' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from watch" -s N -l object-namespace -d 'Namespace of the object' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from watch" -l object-name -d 'Name of the object' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from watch" -l for -d 'The object as KIND/NAME or KIND/NAME/NAMESPACE' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from watch" -l reason -d 'Reason of the Event, change or finding; case-insensitive' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from watch" -l owner -d 'Controller of the object as NAME or KIND/NAME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from watch" -l node -d 'Node on which the event occurred' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from watch" -l container -d 'Container of the pod' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from watch" -l search -d 'Text in title, description, object name or reason; case-insensitive' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from watch" -l tail -d 'Print the newest N events first, 0 to 1000' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from stats" -l db -d 'Database file [env: KUBE9_DB] [default: /data/kube9.db]' -r -F
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from stats" -s o -l format -d 'Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]' -r -f -a "json\t''
yaml\t''
table\t''
wide\t''
jsonl\t''
csv\t''
kubectl-patch\t''
md\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from stats" -l timeout -d 'Time limit of a query in seconds, 1 to 30' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from stats" -l tz -d 'Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from stats" -l type -d 'Type: cluster, operator, insight, assessment, health, system' -r -f -a "cluster\t''
operator\t''
insight\t''
assessment\t''
health\t''
system\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from stats" -l severity -d 'Severity: info, warning, error, critical; warning+ for warning and above' -r -f -a "info\t''
warning\t''
error\t''
critical\t''
warning+\t''
error+\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from stats" -l since -d 'Show events that were still occurring at or after TIME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from stats" -l until -d 'Show events that started before TIME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from stats" -l object-kind -d 'Kind of the object, or a short name as in kubectl' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from stats" -s N -l object-namespace -d 'Namespace of the object' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from stats" -l object-name -d 'Name of the object' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from stats" -l for -d 'The object as KIND/NAME or KIND/NAME/NAMESPACE' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from stats" -l reason -d 'Reason of the Event, change or finding; case-insensitive' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from stats" -l owner -d 'Controller of the object as NAME or KIND/NAME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from stats" -l node -d 'Node on which the event occurred' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from stats" -l container -d 'Container of the pod' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from stats" -l search -d 'Text in title, description, object name or reason; case-insensitive' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from stats" -l by -d 'Columns to group by, comma-separated' -r -f -a "type\t''
severity\t''
namespace\t''
kind\t''
name\t''
reason\t''
node\t''
owner\t''
container\t''
day\t''
hour\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from stats" -s n -l limit -d 'Number of groups, 1 to 1000' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from stats" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from timeline" -l db -d 'Database file [env: KUBE9_DB] [default: /data/kube9.db]' -r -F
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from timeline" -s o -l format -d 'Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]' -r -f -a "json\t''
yaml\t''
table\t''
wide\t''
jsonl\t''
csv\t''
kubectl-patch\t''
md\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from timeline" -l timeout -d 'Time limit of a query in seconds, 1 to 30' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from timeline" -l tz -d 'Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from timeline" -l type -d 'Type: cluster, operator, insight, assessment, health, system' -r -f -a "cluster\t''
operator\t''
insight\t''
assessment\t''
health\t''
system\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from timeline" -l severity -d 'Severity: info, warning, error, critical; warning+ for warning and above' -r -f -a "info\t''
warning\t''
error\t''
critical\t''
warning+\t''
error+\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from timeline" -l since -d 'Show events that were still occurring at or after TIME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from timeline" -l until -d 'Show events that started before TIME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from timeline" -l object-kind -d 'Kind of the object, or a short name as in kubectl' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from timeline" -s N -l object-namespace -d 'Namespace of the object' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from timeline" -l object-name -d 'Name of the object' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from timeline" -l for -d 'The object as KIND/NAME or KIND/NAME/NAMESPACE' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from timeline" -l reason -d 'Reason of the Event, change or finding; case-insensitive' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from timeline" -l owner -d 'Controller of the object as NAME or KIND/NAME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from timeline" -l node -d 'Node on which the event occurred' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from timeline" -l container -d 'Container of the pod' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from timeline" -l search -d 'Text in title, description, object name or reason; case-insensitive' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from timeline" -l bucket -d 'Duration of one bucket, e.g. 5m [default: fits the width]' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from timeline" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from export" -l db -d 'Database file [env: KUBE9_DB] [default: /data/kube9.db]' -r -F
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from export" -s o -l format -d 'Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]' -r -f -a "json\t''
yaml\t''
table\t''
wide\t''
jsonl\t''
csv\t''
kubectl-patch\t''
md\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from export" -l timeout -d 'Time limit of a query in seconds, 1 to 30' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from export" -l tz -d 'Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from export" -l type -d 'Type: cluster, operator, insight, assessment, health, system' -r -f -a "cluster\t''
operator\t''
insight\t''
assessment\t''
health\t''
system\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from export" -l severity -d 'Severity: info, warning, error, critical; warning+ for warning and above' -r -f -a "info\t''
warning\t''
error\t''
critical\t''
warning+\t''
error+\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from export" -l since -d 'Show events that were still occurring at or after TIME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from export" -l until -d 'Show events that started before TIME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from export" -l object-kind -d 'Kind of the object, or a short name as in kubectl' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from export" -s N -l object-namespace -d 'Namespace of the object' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from export" -l object-name -d 'Name of the object' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from export" -l for -d 'The object as KIND/NAME or KIND/NAME/NAMESPACE' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from export" -l reason -d 'Reason of the Event, change or finding; case-insensitive' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from export" -l owner -d 'Controller of the object as NAME or KIND/NAME' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from export" -l node -d 'Node on which the event occurred' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from export" -l container -d 'Container of the pod' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from export" -l search -d 'Text in title, description, object name or reason; case-insensitive' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from export" -l fields -d 'Columns to print, comma-separated' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from help" -f -a "list" -d 'List events, newest first'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from help" -f -a "get" -d 'Show one event'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from help" -f -a "watch" -d 'Follow new and updated events'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from help" -f -a "stats" -d 'Count events by group'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from help" -f -a "timeline" -d 'Chart events over time, with changes and gaps'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from help" -f -a "export" -d 'Export all matching events as JSON lines or CSV'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand events; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand completions" -l db -d 'Database file [env: KUBE9_DB] [default: /data/kube9.db]' -r -F
complete -c kube9-query -n "__fish_kube9_query_using_subcommand completions" -s o -l format -d 'Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]' -r -f -a "json\t''
yaml\t''
table\t''
wide\t''
jsonl\t''
csv\t''
kubectl-patch\t''
md\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand completions" -l timeout -d 'Time limit of a query in seconds, 1 to 30' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand completions" -l tz -d 'Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand pause" -l db -d 'Database file [env: KUBE9_DB] [default: /data/kube9.db]' -r -F
complete -c kube9-query -n "__fish_kube9_query_using_subcommand pause" -s o -l format -d 'Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]' -r -f -a "json\t''
yaml\t''
table\t''
wide\t''
jsonl\t''
csv\t''
kubectl-patch\t''
md\t''"
complete -c kube9-query -n "__fish_kube9_query_using_subcommand pause" -l timeout -d 'Time limit of a query in seconds, 1 to 30' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand pause" -l tz -d 'Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]' -r
complete -c kube9-query -n "__fish_kube9_query_using_subcommand pause" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand help; and not __fish_seen_subcommand_from status changes object findings story impact events completions pause help" -f -a "status" -d 'Show whether the record is complete and current'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand help; and not __fish_seen_subcommand_from status changes object findings story impact events completions pause help" -f -a "changes" -d 'List changes of objects, newest first'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand help; and not __fish_seen_subcommand_from status changes object findings story impact events completions pause help" -f -a "object" -d 'Show, compare and explain recorded states of objects'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand help; and not __fish_seen_subcommand_from status changes object findings story impact events completions pause help" -f -a "findings" -d 'List findings of the rules, open and closed, newest first'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand help; and not __fish_seen_subcommand_from status changes object findings story impact events completions pause help" -f -a "story" -d 'Tell what happened to a workload: failures, what preceded them, what they hit, suspects'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand help; and not __fish_seen_subcommand_from status changes object findings story impact events completions pause help" -f -a "impact" -d 'Show what depends on an object: pods, workloads, Services, Ingresses'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand help; and not __fish_seen_subcommand_from status changes object findings story impact events completions pause help" -f -a "events" -d 'List, show, follow, count, chart and export events'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand help; and not __fish_seen_subcommand_from status changes object findings story impact events completions pause help" -f -a "completions" -d 'Print a shell completion script'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand help; and not __fish_seen_subcommand_from status changes object findings story impact events completions pause help" -f -a "pause" -d 'Wait for a signal (the main process of the query container)'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand help; and not __fish_seen_subcommand_from status changes object findings story impact events completions pause help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand help; and __fish_seen_subcommand_from object" -f -a "get" -d 'Print an object as it was at a time'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand help; and __fish_seen_subcommand_from object" -f -a "history" -d 'List the recorded states of an object, newest first'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand help; and __fish_seen_subcommand_from object" -f -a "diff" -d 'Show what differs between two times, two objects, or an object and a file'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand help; and __fish_seen_subcommand_from object" -f -a "blame" -d 'Print an object with the author and time of each line'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand help; and __fish_seen_subcommand_from events" -f -a "list" -d 'List events, newest first'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand help; and __fish_seen_subcommand_from events" -f -a "get" -d 'Show one event'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand help; and __fish_seen_subcommand_from events" -f -a "watch" -d 'Follow new and updated events'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand help; and __fish_seen_subcommand_from events" -f -a "stats" -d 'Count events by group'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand help; and __fish_seen_subcommand_from events" -f -a "timeline" -d 'Chart events over time, with changes and gaps'
complete -c kube9-query -n "__fish_kube9_query_using_subcommand help; and __fish_seen_subcommand_from events" -f -a "export" -d 'Export all matching events as JSON lines or CSV'
