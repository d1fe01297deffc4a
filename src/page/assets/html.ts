/** The page. What it shows comes from the script; nothing of a device is in it. */
export const HTML = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Update agent</title>
<link rel="stylesheet" href="/style.css">
<script src="/script.js" defer></script>
<main id="devices"></main>
<form id="orders" method="post" hidden>
<label>PIN <input name="pin" type="password" autocomplete="off" maxlength="32" required></label>
<button formaction="/consent">Consent to the update</button>
<button formaction="/bundle">Download the support bundle</button>
<output></output>
</form>
<p id="readonly" hidden>This page is read-only: no PIN is configured (piAdu.page.pin).</p>
<noscript>This page needs JavaScript. On the device, pi-adu status shows the same.</noscript>
`
