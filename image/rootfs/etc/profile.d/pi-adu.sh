# The image has no bash-completion, and the completion of pi-adu needs none.
[ -z "${BASH_VERSION-}" ] || . /usr/share/bash-completion/completions/pi-adu
