function __mail_proxy_completion
    set -l program (commandline -opc)[1]
    set -l line (commandline -cp | string collect)
    for offer in (env COMP_LINE=$line _MAIL_PROXY_COMPLETE=fish $program 2>/dev/null)
        switch $offer
            case '=*'
                string sub --start 2 -- $offer
            case file
                __fish_complete_path (commandline -ct)
            case dir
                __fish_complete_directories (commandline -ct)
        end
    end
end

complete --command mail-proxy --no-files --keep-order --arguments '(__mail_proxy_completion)'
