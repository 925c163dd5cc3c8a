# shellcheck shell=bash
# stage ROOT PROGRAM…: copies programs of this machine to ROOT/usr/bin, with exactly the shared libraries they are linked to.
stage() {
  local root=$1 program lib
  shift
  mkdir -p "$root"/{etc,proc,sys,dev,usr/bin,tmp}
  chmod 1777 "$root/tmp"
  printf '%s\n' root:x:0:0::/: nonroot:x:65532:65532::/: >"$root/etc/passwd"
  printf '%s\n' root:x:0: nonroot:x:65532: >"$root/etc/group"
  for program; do
    install "$program" "$root/usr/bin/"
    # Of a static program ldd says "not a dynamic executable", and fails.
    while read -r lib; do install -D "$lib" "$root$lib"; done < <(ldd "$program" 2>/dev/null | grep -o '/[^ ]*')
  done
}
