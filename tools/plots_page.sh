#!/bin/sh
# Make .dvc/plots/page.html, the frame of the pages of `dvc plots show` and `dvc plots diff`: tools/plots_page.sh
# Vega is inside it, so the pages need no network and can be sent as one file.  It needs npm, and only for a new version.
set -eu
cd "$(dirname "$0")/.."

packages="vega@5.33.1 vega-lite@5.23.0 vega-embed@6.29.0"
page=$PWD/.dvc/plots/page.html
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cd "$folder"
{
    printf '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{refresh_tag}\n<title>svs: plots</title>\n'
    printf '<!-- Made by tools/plots_page.sh from %s, (c) University of Washington Interactive Data Lab: BSD-3-Clause. -->\n' "$packages"
    for package in $packages; do
        name=${package%@*}
        npm pack --silent "$package" >/dev/null
        tar -xzf "$name-${package#*@}.tgz" "package/build/$name.min.js"
        printf '<script>'
        grep -v '^//# sourceMappingURL' "package/build/$name.min.js"
        printf '</script>\n'
    done
    # Without the menu's link to an editor on the web.  An image links to its file.
    cat <<'HTML'
<script>
const embed = vegaEmbed;
vegaEmbed = (place, plot) => embed(place, plot, {actions: {export: true, source: false, compiled: false, editor: false}});
</script>
<style>
body { font: 1rem system-ui, sans-serif; margin: 1.5rem; color: #222; background: #fff; }
body > div { margin-bottom: 2rem; overflow-x: auto; }
img { max-width: 100%; height: auto; }
</style>
</head>
<body>
{plot_divs}
</body>
</html>
HTML
} > "$page.unfinished"
mv "$page.unfinished" "$page"
