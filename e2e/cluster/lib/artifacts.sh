# The cache: each artifact is a folder named by the hash of what it is made from, and appears whole or not at all.
# shellcheck shell=bash

engines="postgresql mariadb mysql"
images="$engines spilo"
addons() { find "$here/addons" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort; }

# The folder of an artifact, and how it is made there.
kubernetes() { artifact kubernetes "$here/kubernetes"; }
pause() { artifact pause "$here/kubernetes/go.mod" "$here/images/"{pause,mkimage.py}; }
debian_image() { # with the files that go into it, if there are any
  local -a files
  mapfile -t files < <(find "$here/images/$1-files" -type f 2>/dev/null)
  artifact "$1" "$here/images/"{"$1",debian.sh,mkimage.py} "${files[@]}"
}
addon() { # its manifests are not in its image
  local -a sources
  mapfile -t sources < <(find "$here/addons/$1" -type f ! -name '*.yaml')
  artifact "$1" "${sources[@]}" "$here/images/"{addon,stage.sh,mkimage.py}
}
addon_image() { basename "$(addon "$1")" | sed 's#\(.*\)-#localhost/\1:#'; }

make_kubernetes() { make "$(kubernetes)" "$here/kubernetes/build"; }
make_pause() { make "$(pause)" "$here/images/pause"; }
make_image() { make "$(debian_image "$1")" "$here/images/$1"; }
make_addon() { make "$(addon "$1")" "$here/images/addon" "$(addon_image "$1")"; }

# artifact NAME INPUT…: where the NAME made from exactly these files is (of a folder: all in it).
artifact() {
  local name=$1
  shift
  echo "$cache/$name-$(find "$@" -type f -print0 | sort -z | xargs -0 sha256sum | sed "s#  $here/#  #" | sha256sum | cut -c1-12)"
}

# make FOLDER COMMAND…: starts COMMAND, which fills the folder given as its last argument, unless it is done already.
make() {
  local folder=$1 name
  name=$(basename "${1%-*}")
  shift
  [ ! -d "$folder" ] || return 0
  rm -rf "$cache/unfinished/$name"
  mkdir -p "$cache/unfinished/$name"
  start "$name" "$@" "$cache/unfinished/$name"
}

# keep FOLDER: waits for what makes it, puts it in place, and removes what older inputs gave.
keep() {
  local folder=$1 name other how=cached
  name=$(basename "${1%-*}")
  if [ ! -d "$folder" ]; then
    finish "$name"
    mv "$cache/unfinished/$name" "$folder"
    how=built
  fi
  for other in "$cache/$name"-????????????; do
    [ "$other" = "$folder" ] || rm -rf "$other"
  done
  took $how
}

# pack_program NAME:TAG BINARY: prints the archive.
pack_program() {
  local folder=$cache/programs archive=$cache/programs/$1.tar
  rm -rf "$cache/unfinished/program"
  mkdir -p "$folder" "$cache/unfinished/program"
  "$here/images/program" "$1" "$2" "$cache/unfinished/program"
  rm -f "$folder/${1%%:*}":*.tar
  mv "$cache/unfinished/program/image.tar" "$archive"
  echo "$archive"
}
