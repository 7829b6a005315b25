// The documented example "Generate dynamic responses from your key-value pairs": the translated
// page.
function pick(supported, header) {
  const wanted = header
    .split(",")
    .map((part) => {
      const [tag, weight] = part.split(";");
      return { tag: tag.trim().toLowerCase(), q: weight ? Number(weight.trim().slice(2)) : 1 };
    })
    .filter(({ q }) => q > 0)
    .sort((a, b) => b.q - a.q);
  for (const { tag } of wanted) {
    const found = supported.find((code) => code === tag) ?? supported.find((code) => code === tag.split("-")[0]);
    if (found) return found;
  }
  return "en";
}

function escapeHtml(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

export async function helloWorld(request, env) {
  const header = request.headers.get("Accept-Language") || "en";
  const translations = (await env.assets.get("hello-world.json", "json")) || [];
  const language = pick(
    translations.map((item) => item.language_code),
    header,
  );
  const translation = translations.find((item) => item.language_code === language);
  const message = translation?.message ?? "Hello World!";
  const html = `<!DOCTYPE html>
<html lang="${language}"${language === "ar" ? ' dir="rtl"' : ""}>
<head>
<meta charset="utf-8">
<title>Hello World translation</title>
</head>
<body>
<h1>${escapeHtml(message)}</h1>
</body>
</html>
`;
  return new Response(html, {
    headers: {
      "Content-Type": "text/html; charset=utf-8",
      "Content-Language": language,
      Vary: "Accept-Language",
    },
  });
}
