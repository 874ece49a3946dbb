#!/usr/bin/env bash
# Builds what a cluster on this machine needs and is not there yet, from Go's modules: static programs for linux.
#   tools.sh FOLDER NAME...   node (all programs of the node image), kind, helm, kubectl, skipper, actionlint
# FOLDER/bin takes the programs, FOLDER/work the modules they are built from. Each version is built once; the first time
# `node` takes about 11 minutes on two cores and 6 GB of Go's caches.
set -euo pipefail

KUBERNETES=v1.34.4
ETCD=v3.6.8
COREDNS=v1.12.4
KUBE_ROUTER=v2.2.1
LOCAL_PATH_PROVISIONER=v0.0.30
KIND=v0.32.0
HELM=v3.18.6
SKIPPER=v0.22.0
ACTIONLINT=v1.7.7
# Of the programs of ours below.
PAUSE=1

[[ $# -ge 2 ]] || {
    sed -n '2,5s/^# //p' "$0" >&2
    exit 2
}
mkdir -p "$1/bin/versions" "$1/work"
bin=$(realpath "$1/bin")
work=$(realpath "$1/work")
shift
export CGO_ENABLED=0 GOFLAGS=-mod=mod GOOS=linux GOTOOLCHAIN=local
command -v go >/dev/null || {
    echo "tools: Go is missing; install it from https://go.dev/dl (1.25 or newer)" >&2
    exit 1
}

# have NAME VERSION: whether that version was built already
have() { [[ -x "$bin/$1" && "$(cat "$bin/versions/$1" 2>/dev/null)" == "$2" ]]; }

# take FOLDER MODULE VERSION PACKAGE...: a module of ours that requires MODULE with the versions it was released with,
# so that its commands are built as packages of a dependency, and no checkout is needed
take() {
    local module=$2 version=$3 replaced upstream own
    rm -rf "${work:?}/$1"
    mkdir -p "$work/$1"
    cd "$work/$1"
    shift 3
    upstream=$(cd / && go mod download -json "$module@$version" | sed -n 's/^[[:space:]]*"GoMod": "\(.*\)",*$/\1/p')
    sed 's#^module .*#module build#' "$upstream" >go.mod
    # Replacements that point into the module's own repository: each is a released module too.
    for replaced in $(awk '/=> \.+\// {print $1 == "replace" ? $2 : $1}' go.mod); do
        go mod edit -dropreplace "$replaced"
        if grep -qE "^[[:space:]]+$replaced v0\.0\.0( |$)" go.mod; then
            go mod edit -replace "$replaced=$replaced@v0.${version#v1.}"
        fi
    done
    own=$(awk '$1 == "module" {print $2}' "$upstream")
    go mod edit -require "$own@$version"
    [[ $own == "$module" ]] || go mod edit -replace "$own=$module@$version"
    {
        printf '//go:build tools\npackage build\n'
        printf 'import _ "%s"\n' "$@"
    } >tools.go
    go mod tidy >tidy.log 2>&1 || {
        grep -v downloading tidy.log | tail -5 >&2
        return 1
    }
}

# build NAME VERSION PACKAGE [LINKER FLAGS]: in the module that `take` made
build() {
    local began=$SECONDS
    go build -trimpath -ldflags "-s -w ${4:-}" -o "$bin/$1" "$3"
    echo "$2" >"$bin/versions/$1"
    printf 'tools: %s %s built in %d s\n' "$1" "$2" $((SECONDS - began))
}

# one NAME MODULE VERSION PACKAGE [LINKER FLAGS]: a module with one program
one() {
    have "$1" "$3" && return 0
    take "$1" "$2" "$3" "$4"
    build "$1" "$3" "$4" "${5:-}"
}

kubernetes() {
    local name missing=() flags="" package minor=${KUBERNETES#v1.}
    for name in "$@"; do have "$name" $KUBERNETES || missing+=("$name"); done
    ((${#missing[@]})) || return 0
    take kubernetes k8s.io/kubernetes $KUBERNETES "${missing[@]/#/k8s.io/kubernetes/cmd/}"
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        flags+=" -X $package.gitVersion=$KUBERNETES -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*}"
        flags+=" -X $package.gitTreeState=clean"
    done
    for name in "${missing[@]}"; do build "$name" $KUBERNETES "k8s.io/kubernetes/cmd/$name" "$flags"; done
}

node() {
    kubernetes kubeadm kubectl kubelet kube-apiserver kube-controller-manager kube-scheduler kube-proxy
    one etcd go.etcd.io/etcd/server/v3 $ETCD go.etcd.io/etcd/server/v3
    one coredns github.com/coredns/coredns $COREDNS github.com/coredns/coredns
    # Enforces NetworkPolicy. k3s keeps the released copy of it that module proxies serve.
    one kube-router github.com/k3s-io/kube-router/v2 $KUBE_ROUTER github.com/cloudnativelabs/kube-router/v2/cmd/kube-router
    one local-path-provisioner github.com/rancher/local-path-provisioner $LOCAL_PATH_PROVISIONER \
        github.com/rancher/local-path-provisioner
    have pause $PAUSE || (cd "$here/node-image/pause" && build pause $PAUSE .)
}

here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
for name in "$@"; do
    case $name in
    node) node ;;
    kubectl) kubernetes kubectl ;;
    kind) one kind sigs.k8s.io/kind $KIND sigs.k8s.io/kind ;;
    helm) one helm helm.sh/helm/v3 $HELM helm.sh/helm/v3/cmd/helm "-X helm.sh/helm/v3/internal/version.version=$HELM" ;;
    skipper) one skipper github.com/zalando/skipper $SKIPPER github.com/zalando/skipper/cmd/skipper ;;
    actionlint) one actionlint github.com/rhysd/actionlint $ACTIONLINT github.com/rhysd/actionlint/cmd/actionlint ;;
    *)
        echo "tools: there is no $name" >&2
        exit 2
        ;;
    esac
done
