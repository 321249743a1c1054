#!/bin/sh
# Builds a base image for the Dockerfile from Debian's packages, without a registry: Debian with its own Python as
# /usr/local/bin/python.
#
#   deploy/base-image.sh [--suite trixie] [--mirror URL] [--engine buildah] TAG
#
# Needs root, debootstrap, and buildah, docker or podman. The suite decides on the version of Python: bookworm 3.11,
# trixie 3.13. buildah reads its usual settings, such as CONTAINERS_STORAGE_CONF and STORAGE_DRIVER.
set -eu

suite=trixie
mirror=http://deb.debian.org/debian
engine=buildah
tag=

usage() {
    echo "usage: base-image.sh [--suite trixie] [--mirror URL] [--engine buildah|docker|podman] TAG" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
        --suite | --mirror | --engine)
            [ $# -ge 2 ] || usage
            case $1 in
                --suite) suite=$2 ;;
                --mirror) mirror=$2 ;;
                --engine) engine=$2 ;;
            esac
            shift 2
            ;;
        -*) usage ;;
        *)
            [ -z "$tag" ] || usage
            tag=$1
            shift
            ;;
    esac
done
[ -n "$tag" ] || usage
case $engine in buildah | docker | podman) ;; *) usage ;; esac

fail() {
    echo "base-image.sh: $1" >&2
    exit 1
}
[ "$(id -u)" = 0 ] || fail "debootstrap needs root"
command -v debootstrap >/dev/null || fail "debootstrap is not installed"
command -v "$engine" >/dev/null || fail "$engine is not installed"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
root=$work/root

debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$suite" "$root" "$mirror" >"$work/log" 2>&1 ||
    { tail -n 20 "$work/log" >&2; fail "debootstrap of $suite from $mirror failed"; }
ln -s /usr/bin/python3 "$root/usr/local/bin/python"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/usr/share/doc/* "$root"/usr/share/man/*
# debootstrap copies the resolver of this machine. An engine brings its own.
rm -f "$root/etc/resolv.conf" "$root/etc/hostname"
# Device files belong to the engine.
tar --create --file "$work/root.tar" --directory "$root" --numeric-owner --exclude './dev/*' .

if [ "$engine" = buildah ]; then
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$work/root.tar" / >/dev/null
    buildah config --cmd python --env PATH=/usr/local/bin:/usr/bin:/bin "$container"
    buildah commit --quiet --rm "$container" "$tag" >/dev/null
else
    "$engine" import --change 'CMD ["python"]' --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin' "$work/root.tar" "$tag" >/dev/null
fi
echo "$tag"
