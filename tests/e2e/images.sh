#!/usr/bin/env bash
# images.sh [--arch amd64|arm64] [--twice | --needs]: builds both images from the Dockerfiles, without a registry.
# Writes target/images/recorder.tar and query.tar (docker archives): localhost/kube9-recorder:dev, localhost/kube9-query:dev;
# for another architecture than this machine's target/images/recorder-ARCH.tar and query-ARCH.tar.
# The programs are unpacked to target/images/bin if this machine can run them, so that tests can use them.
#
# --twice builds them again from scratch and compares: the same source must give the same bytes.
# --needs only installs the packages that a build needs.
#
# The base image does not come from a registry: mmdebstrap creates it, the toolchain and cargo's cache of this machine are
# mounted into the build, and a target directory is kept, so that a second run takes seconds.
source "$(dirname "$0")/lib.sh"

here=$(dpkg --print-architecture 2>/dev/null) || skip "no Debian"
arch=$here twice='' only_needs=''
while (($#)); do
  case $1 in
  --arch) arch=${2:?"which architecture?"} && shift 2 ;;
  --twice) twice=1 && shift ;;
  --needs) only_needs=1 && shift ;;
  *) die "unknown argument $1" ;;
  esac
done
[[ $arch == amd64 || $arch == arm64 ]] || die "no such architecture: $arch"
[[ $(id -u) == 0 ]] || skip "images need root"
need cargo
need buildah buildah
need mmdebstrap mmdebstrap
need jq jq
[[ -z $only_needs ]] || exit 0

images=$root/target/images
store=$images/.build
mkdir -p "$images" "$store"
# The chart's tests and `docker build` use the same version.
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")
revision=$(git -C "$root" rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

export BUILDAH_ISOLATION=chroot
ba() { nice buildah --root "$store/storage" --runroot "$store/run" --storage-driver "${KUBE9_E2E_STORAGE_DRIVER:-vfs}" "$@"; }

# ---- the base image, once
if ! ba inspect localhost/kube9-builder:bookworm >/dev/null 2>&1; then
  say "making the base image"
  container=$(ba from scratch)
  # Nothing of it has to survive a power failure, so dpkg need not wait for the disk after each file.
  mmdebstrap --variant=minbase --include=gcc,libc6-dev,musl-dev,ca-certificates --dpkgopt=force-unsafe-io \
    bookworm "$(ba mount "$container")" >"$store/mmdebstrap.log" 2>&1 || die "mmdebstrap" "$(tail -5 "$store/mmdebstrap.log")"
  # As in the image docker.io/library/rust.
  ba config --env PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    --env CARGO_HOME=/usr/local/cargo --env RUSTUP_HOME=/usr/local/rustup "$container"
  ba commit -q "$container" localhost/kube9-builder:bookworm >/dev/null
  ba rm "$container" >/dev/null
fi

# ---- what the build cannot download
cpu=x86_64
[[ $arch == amd64 ]] || cpu=aarch64
libc=musl
if ! (cd "$root" && { rustup target list --installed | grep -qx "$cpu-unknown-linux-musl" ||
  rustup target add "$cpu-unknown-linux-musl"; }) >"$store/rustup.log" 2>&1; then
  [[ $arch == "$here" ]] || die "no Rust target $cpu-unknown-linux-musl" "$(tail -3 "$store/rustup.log")"
  say "no musl target: linking glibc statically"
  libc=gnu
fi
toolchain=$(cd "$root" && readlink -f "$(rustc --print sysroot)")
channel=$(sed -n 's/^channel = "\(.*\)"/\1/p' "$root/rust-toolchain.toml")
cargo fetch --quiet --locked --manifest-path "$root/Cargo.toml" || die "cargo fetch"

# ---- the images, as the Dockerfiles say
suffix=
[[ $arch == "$here" ]] || suffix=-$arch
build() { # build NAME TAG TARGET-FOLDER ARGUMENTS...
  local name=$1 tag=$2 target=$3
  shift 3
  mkdir -p "$target"
  # /etc/apt: a cross build installs a compiler, from this machine's package sources.
  ba build "$@" --pull=never --platform "linux/$arch" --timestamp 0 \
    --build-arg "BUILDPLATFORM=linux/$here" --build-arg BUILDER=localhost/kube9-builder:bookworm --build-arg LIBC=$libc --build-arg CARGO_ARGS=--offline \
    --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
    --volume "${CARGO_HOME:-$HOME/.cargo}:/usr/local/cargo:ro" \
    --volume "$toolchain:/usr/local/rustup/toolchains/$channel-$(uname -m)-unknown-linux-gnu:ro" \
    --volume /etc/apt:/etc/apt:ro --volume "$target:/src/target" \
    --file "$root/Dockerfile.$name" --tag "$tag" "$root" >"$store/$name.log" 2>&1 ||
    die "image $name" "$(tail -20 "$store/$name.log")"
}
for name in recorder query; do
  seconds=$SECONDS
  build $name "localhost/kube9-$name:dev$suffix" "$store/target"
  rm -f "$images/$name$suffix.tar"
  ba push --quiet "localhost/kube9-$name:dev$suffix" "docker-archive:$images/$name$suffix.tar:localhost/kube9-$name:dev" ||
    die "archive of $name"
  ok "target/images/$name$suffix.tar ($((SECONDS - seconds)) s)"
done

# ---- what is in them
content() { # content NAME: the files of the image, without directories
  tar -xOf "$images/$1$suffix.tar" "$(tar -xOf "$images/$1$suffix.tar" manifest.json | jq -r '.[0].Layers[]' | head -1)" |
    tar -tv | awk '$1 !~ /^d/ {print $6}' | sort | xargs
}
content_sum() { # content_sum ARCHIVE: of every file in its layers, with its name and mode
  tar -xOf "$1" "$(tar -xOf "$1" manifest.json | jq -r '.[0].Layers[]' | head -1)" | sha256sum | cut -d' ' -f1
}
config() { # config NAME JQ
  tar -xOf "$images/$1$suffix.tar" "$(tar -xOf "$images/$1$suffix.tar" manifest.json | jq -r '.[0].Config')" | jq -r "$2"
}
equals "the recorder's image: binary and CA certificates" "etc/ssl/certs/ca-certificates.crt kube9-recorder" "$(content recorder)"
equals "the query's image: binary and its second name" "kube9-operator kube9-query" "$(content query)"
equals "user of the recorder" 10001:10001 "$(config recorder .config.User)"
equals "user of the query" 10002:10001 "$(config query .config.User)"
equals "architecture" "$arch $arch" "$(config recorder .architecture) $(config query .architecture)"
equals "version label" "$version" "$(config query '.config.Labels["org.opencontainers.image.version"]')"
at_most "size of the recorder's image" 12000000 "$(stat -c %s "$images/recorder$suffix.tar")" bytes
at_most "size of the query's image" 5000000 "$(stat -c %s "$images/query$suffix.tar")" bytes

# ---- the programs themselves
if [[ $arch == "$here" ]]; then
  mkdir -p "$images/bin"
  for name in recorder query; do
    layer=$(tar -xOf "$images/$name.tar" manifest.json | jq -r '.[0].Layers[0]')
    tar -xOf "$images/$name.tar" "$layer" | tar -x -C "$images/bin" "kube9-$name"
    contains "target/images/bin/kube9-$name runs" "^kube9-$name $version" "$("$images/bin/kube9-$name" --version)"
  done
fi

# ---- the same again, without anything from the first build
if [[ -n $twice ]]; then
  rm -rf "$store/target-again"
  for name in recorder query; do
    build $name "localhost/kube9-$name:again" "$store/target-again" --no-cache
    ba push --quiet "localhost/kube9-$name:again" "docker-archive:$store/again.tar:localhost/kube9-$name:dev" || die "archive of $name, again"
    equals "kube9-$name is built to the same bytes" "$(content_sum "$images/$name$suffix.tar")" "$(content_sum "$store/again.tar")"
    rm -f "$store/again.tar"
  done
  rm -rf "$store/target-again"
fi

# ---- a foreign architecture runs here too, in an emulator of user programs
if [[ $arch != "$here" ]]; then
  need "qemu-$cpu-static" qemu-user-static
  foreign=$store/foreign
  rm -rf "$foreign"
  mkdir -p "$foreign"
  for name in recorder query; do
    layer=$(tar -xOf "$images/$name$suffix.tar" manifest.json | jq -r '.[0].Layers[0]')
    tar -xOf "$images/$name$suffix.tar" "$layer" | tar -x -C "$foreign" "kube9-$name"
    contains "kube9-$name --version on $arch" "^kube9-$name $version" "$("qemu-$cpu-static" "$foreign/kube9-$name" --version)"
  done
  # A database that control-plane.sh left.
  if [[ -f $work/control-plane/kube9.db ]]; then
    check "a list on $arch" bash -c "qemu-$cpu-static '$foreign/kube9-query' --db '$work/control-plane/kube9.db' \
      events list --limit=3 --format=json | jq -e '.events | length == 3'"
  else say "no database to list on $arch: run control-plane.sh first"; fi
fi
finish
