// Keeps the language that was chosen: where an address names none, the cookie `lang` counts before
// what the browser asks for.
for (const link of document.querySelectorAll("a[hreflang]")) {
  link.addEventListener("click", () => (document.cookie = `lang=${link.hreflang}; path=/; max-age=31536000; samesite=lax`));
}

document.querySelector("[data-any-language]").addEventListener("click", () => (document.cookie = "lang=; path=/; max-age=0; samesite=lax"));
