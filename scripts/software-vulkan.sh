#!/bin/bash
# scripts/software-vulkan.sh FOLDER
#
# A Vulkan driver that runs on the CPU, for the WebGPU tests in Node. Prints shell lines to eval; all talk goes to stderr.
#
#   eval "$(scripts/software-vulkan.sh /tmp/lvp)"
#   TEST_BACKENDS=webgpu "$VULKAN_NODE" node_modules/vitest/vitest.mjs run --project unit kernels
#
# exit 0  Mesa lavapipe: shader-f16, subgroups and, from Mesa 26, subgroup matrix
#      3  only SwiftShader, from an installed chromium: no f16
#      1  none
#
# lavapipe comes from Debian's packages, extracted into FOLDER: nothing is installed and no root is needed. It wants a newer
# C library than the machine may have, so a copy of node is pointed at the extracted one (running node through ld.so instead
# breaks child_process.fork). Run again with the same FOLDER it is there at once.
set -euo pipefail

say() { echo "software-vulkan: $*" >&2; }

[ $# -eq 1 ] || { say "usage: scripts/software-vulkan.sh FOLDER"; exit 2; }
mkdir -p "$1"
D=$(cd "$1" && pwd)
REPO=$(cd "$(dirname "$0")/.." && pwd)
READY=$D/exports.sh # written last: it is there only when all else is

# Does Dawn find an adapter with these settings? Says which. Without the webgpu package there is nothing to ask.
adapter_answers() { # NODE ICD
  [ -d "$REPO/node_modules/webgpu" ] || { say "webgpu is not in node_modules: the driver is not tried out"; "$1" --version >/dev/null; return; }
  (cd "$REPO" && VK_DRIVER_FILES=$2 XDG_RUNTIME_DIR=$D timeout 60 "$1" --input-type=module -e '
    import { create } from "webgpu";
    const adapter = await create(["enable-dawn-features=allow_unsafe_apis"]).requestAdapter();
    if (!adapter) throw new Error("no adapter");
    const wanted = ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"];
    console.error(`software-vulkan: ${adapter.info.device} ${adapter.info.description}:`,
      wanted.filter((f) => adapter.features.has(f)).join(", "));
    process.exit(0);')
}

exports() { # NODE ICD
  mkdir -p -m 700 "$D/run" "$D/shader-cache"
  cat <<END
export VK_DRIVER_FILES='$2'
export XDG_RUNTIME_DIR='$D/run'
export MESA_SHADER_CACHE_DIR='$D/shader-cache'
export VULKAN_NODE='$1'
END
}

# The mirror that this machine already uses.
debian_mirror() {
  cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v '^ *#' | grep -v security |
    grep -oE 'https?://[^ ]+/debian/?( |$)' | head -1 | tr -d ' '
}

apt_here() {
  apt-get -o Dir::Etc::SourceList="$D/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
    -o Dir::State::Lists="$D/apt/lists" -o Dir::Cache="$D/apt/cache" -o Dir::State::status="$D/apt/status" \
    -o APT::Install-Recommends=0 -o Debug::NoLocking=1 ${SANDBOX[@]+"${SANDBOX[@]}"} \
    -o Acquire::http::Timeout=15 -o Acquire::https::Timeout=15 -o Acquire::Retries=1 -qq "$@"
}

lavapipe() {
  local mirror key=/usr/share/keyrings/debian-archive-keyring.gpg libs
  SANDBOX=()
  if [ "$(id -u)" = 0 ]; then SANDBOX=(-o APT::Sandbox::User=root); fi # its download user may not write into FOLDER
  command -v apt-get dpkg >/dev/null || { say "no apt-get here"; return 1; }
  mirror=$(debian_mirror) || true
  [ -n "$mirror" ] && [ -f "$key" ] || { say "no Debian mirror among the apt sources"; return 1; }

  say "Mesa from trixie-backports, extracted into $D (63 MB to download, 400 MB on disk)"
  mkdir -p "$D"/apt/lists/partial "$D"/apt/cache/archives/partial "$D"/apt/patchelf "$D"/root
  : >"$D/apt/status" # nothing is installed, so that every library down to libc comes along
  printf "deb [signed-by=$key] $mirror %s main\n" trixie trixie-backports bookworm >"$D/apt/sources.list"
  apt_here update >&2 || return 1
  apt_here -y --download-only install -t trixie-backports mesa-vulkan-drivers libvulkan1 libstdc++6 >&2 || return 1
  for deb in "$D"/apt/cache/archives/*.deb; do dpkg -x "$deb" "$D/root" || return 1; done
  # bookworm's patchelf 0.14: the 0.18 of trixie writes a node that crashes.
  (cd "$D/apt/patchelf" && apt_here download patchelf/bookworm >&2 && dpkg -x patchelf_*.deb .) || return 1

  libs=$(dirname "$(find "$D/root/usr/lib" -name libvulkan_lvp.so | head -1)")
  sed -E "s#\"library_path\": *\"[^\"]*\"#\"library_path\": \"$libs/libvulkan_lvp.so\"#" \
    "$D"/root/usr/share/vulkan/icd.d/lvp_icd*.json >"$D/lvp.json" || return 1
  cp "$(node -p 'fs.realpathSync(process.execPath)')" "$D/node" || return 1
  "$D/apt/patchelf/usr/bin/patchelf" --set-interpreter "$(find "$libs" -name 'ld-linux*.so.*' | head -1)" \
    --force-rpath --set-rpath "$libs" "$D/node" || return 1
  rm -rf "$D/apt"
  adapter_answers "$D/node" "$D/lvp.json" || { say "the extracted lavapipe gives no adapter"; return 1; }
  exports "$D/node" "$D/lvp.json" >"$READY"
}

# Mesa 25 as a system package (Debian 13 and later) serves with the node that is there.
installed_lavapipe() {
  local icd
  icd=$(ls /usr/share/vulkan/icd.d/lvp_icd*.json 2>/dev/null | head -1)
  [ -n "$icd" ] && adapter_answers "$(command -v node)" "$icd" && exports "$(command -v node)" "$icd" >"$READY"
}

# chromium brings SwiftShader and, in its folder, the Vulkan loader that the system may lack.
swiftshader() {
  local home=/usr/lib/chromium
  [ -f $home/vk_swiftshader_icd.json ] || return 1
  mkdir -p "$D/loader"
  ln -sf $home/libvulkan.so.1 "$D/loader/libvulkan.so.1"
  LD_LIBRARY_PATH=$D/loader adapter_answers "$(command -v node)" $home/vk_swiftshader_icd.json || return 1
  exports "$(command -v node)" $home/vk_swiftshader_icd.json
  echo "export LD_LIBRARY_PATH='$D/loader'"
}

# A node from before an update of the machine's node would test the wrong version.
same_node() { [ "$("$D/node" --version 2>/dev/null)" = "$(node --version)" ]; }

if [ -f "$READY" ] && { [ ! -f "$D/node" ] || same_node; }; then
  say "already in $D"
  cat "$READY"
  exit 0
fi

trap 'rm -rf "$D/apt" "$D/root" "$D/node"; exit 130' INT TERM
if lavapipe; then
  cat "$READY"
  exit 0
fi
rm -rf "$D/apt" "$D/root" "$D/node" "$D/lvp.json"
if installed_lavapipe; then
  cat "$READY"
  exit 0
fi

if swiftshader; then
  say "only SwiftShader: no f16, slow"
  exit 3
fi
say "no software Vulkan on this machine"
exit 1
