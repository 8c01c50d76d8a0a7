"""Words with which mail programs of some twenty languages introduce what they quote."""

from __future__ import annotations

# "Original message", between rulers.
ORIGINAL = (
    r"original message|original mail|originalnachricht|urspr(?:ü|ue)ngliche (?:nachricht|e-?mail|mail)"
    r"|message d['’]origine|message original|mensaje original|messaggio originale|mensagem original"
    r"|oorspronkelijk bericht|oprindelig (?:meddelelse|besked)|original(?:t)? meddelande"
    r"|ursprungligt meddelande"
    r"|opprinnelig melding|original meddelelse|alkuperäinen viesti|исходное сообщение|оригинальное сообщение"
    r"|ответ(?:ное)? сообщение|wiadomo(?:ść|sc) oryginalna|oryginalna wiadomo(?:ść|sc)"
    r"|původní (?:zpráva|e-mail)"
    r"|pôvodná správa|eredeti üzenet|orijinal (?:mesaj|ileti)|αρχικό μήνυμα|原始邮件|原始信件|原始郵件|元のメッセージ"
    r"|원본 ?메시지|원본 메일|הודעה מקורית|الرسالة الأصلية|reply message|replied message"
)
# "Forwarded message": what follows is the content, not its history.
FORWARDED = (
    r"begin forwarded message|forwarded (?:message|by)|weitergeleitete nachricht|anfang der weitergeleiteten"
    r"|message transféré|début du message|mensaje reenviado|inicio del mensaje reenviado|messaggio inoltrato"
    r"|inizio messaggio inoltrato|mensagem (?:encaminhada|reencaminhada)"
    r"|doorgestuurd bericht|begin doorgestuurd bericht"
    r"|videresendt|vidarebefordrat meddelande|пересланное сообщение|пересылаемое"
    r"|przekazana wiadomość|přeposlaná zpráva"
    r"|转发的?邮件|轉寄|転送|メッセージを転送|začátek přeposílané zprávy|start på videresendt besked"
    r"|(?:edelleenlähetetty|välitetty) viesti|započni proslijeđenu poruku|proslijeđena poruka"
    r"|továbbított (?:levél|üzenet)|początek przekazywanej wiadomości|treść przekazanej wiadomości"
    r"|wiadomość przesłana dalej|início da mensagem (?:re)?encaminhada|(?:începe )?mesaj(?:ul)? redirecționat"
    r"|начало переадресованного|перенаправленное сообщение|(?:začiatok )?preposlan(?:ej|á) správ[ya]"
    r"|vidarebefordrat mejl|ileti başlangıcı|[iİ]leti(?:len|lmiş) (?:ileti|mesaj)|початок листа, що пересилається"
    r"|переслане повідомлення|перенаправлене повідомлення|message transmis"
)
# Labels of a quoted header block.
FROM = (
    r"from|sender|de|von|från|fra|van|da|lähettäjä|od|от|від|kimden|από|发件人|寄件者|差出人|送信元"
    r"|보낸 ?사람|feladó|šalje|expeditorul|отправитель|від кого|mittente|nadawca|de la"
    r"|dari|מאת|من|envoyé par|expéditeur"
)
SENT = (
    r"date|sent|datum|gesendet|envoyé|enviado(?: el| em)?|fecha|data|inviato|verzonden"
    r"|skickat|sendt|dato|lähetetty"
    r"|päiväys|pvm|wysłano|data wysłania|отправлено|дата|надіслано|odesláno|tarih"
    r"|gönderildi|发送时间|日期|日付|送信日時"
    r"|보낸 ?날짜|elküldve|ημερομηνία|tanggal"
)
TO = (
    r"to|an|à|a|para|aan|till|til|vastaanottaja|do|komu|кому|kime|προς|收件人|宛先|받는 ?사람"
    r"|címzett|destinataire|pour|cc"
    r"|kopie|kopia"
)
SUBJECT = (
    r"subject|betreff|objet|asunto|oggetto|assunto|onderwerp|ämne|emne|aihe|temat|předmět"
    r"|predmet|тема|konu|θέμα|主题|主旨"
    r"|件名|제목|tárgy|perihal|re"
)
# "... wrote:"
WROTE = (
    r"wrote|writes|said|schrieb(?:en)?|hat geschrieben|geschrieben|a écrit|a ecrit"
    r"|escribi(?:ó|o)|escrib(?:e|ió)"
    r"|ha scritto|scrive|escreveu|schreef|geschreven|het volgende geschreven|skrev|skreiv"
    r"|kirjoitti|napisał(?:\(a\)|a)?"
    r"|pisze|napsal(?:\(a\)|a)?|napísal(?:a)?|написал(?:\(а\)|а)?|пишет|писал(?:а)?"
    r"|написав(?:\(ла\))?|пише|írta|yazdı"
    r"|şunları yazdı|έγραψε|a scris|menulis|đã viết|写道|寫道|写了|さんは書きました|のメール|님이 작성|작성|כתב(?:ה)?"
    r"|كتب(?:ت)?|napisao|je napisal"
)
# "On ..." and other beginnings of such a line: prepositions, weekdays, dates, a name with an address.
ON = (
    r"on|at|in|am|le|el|il|em|a|op|den|det|il giorno|w dniu|dnia|dne|dňa|vào|στις|στην"
    r"|päivänä|pada|tanggal|на|у|в|ke|ti"
    r"|to|la|в?\s?(?:пн|вт|ср|чт|пт|сб|вс|понедельник|вторник|среду?|четверг|пятниц[ау]|суббот[ау]|воскресенье)"
    r""
    r"|(?:mon|tue|wed|thu|fri|sat|sun|lun|mar|mer|jeu|ven|sam|dim|ma|di|wo|do|vr|za|zo|mo|mi|fr|sa|so)[a-zäöéû]*\.?,?"
    r"|\d{1,4}[-./年]|\d{1,2}\.? [^\d\s]{3,}|[^\d\s]{3,12} \d{1,2},? \d{4}"
    r"|[\"'“]?[\w.\- ]{1,60}[\"'”]? ?[<\[(]\S+@\S+[>\])]|\S+@\S+"
)
# "Sent from my phone."
SENT_FROM = (
    r"(?:sent|sent with|get) (?:from|via|with|by|using|outlook for) ?(?:my|the|a|an)?\b(?! desk)"
    r"[\w .\-’'®,/<>:+()@]{0,80}$"
    r""
    r"|sent from|get outlook for|(?:von|gesendet (?:von|mit|aus|über))\b.{1,70}(?:gesendet)?$"
    r"|envoyé (?:de|depuis|à partir)\b.{1,70}$|enviado (?:desde|de|do|a partir)\b.{1,70}$"
    r"|inviato (?:da|dal|dalla)\b.{1,70}$"
    r"|verzonden (?:vanaf|met|vanuit|via)\b.{1,70}$|verstuurd vanaf\b.{1,70}$"
    r"|skickat från\b.{1,70}$|sendt fra\b.{1,70}$"
    r"|lähetetty .{1,60}$|отправлено (?:с|из)\b.{1,70}$|wysłan[eoay] z\b.{1,70}$|odesláno z\b.{1,70}$"
    r"|从我的.{1,30}发送$|發自我的|iphoneから送信|나의 .{1,30}에서 보냄"
)
# The last line before a name.
CLOSING = (
    r"(?:kind|best|warm|warmest|many thanks and)? ?regards|best wishes|cheers|sincerely(?: yours)?"
    r"|yours (?:sincerely|truly|faithfully)|mit freundlichen (?:grüßen|gruessen|grüssen)"
    r"|(?:viele|beste|liebe|freundliche|herzliche) (?:grüße|gruesse|grüsse)|mfg|vg"
    r"|cordialement|bien cordialement"
    r"|cordiali saluti|distinti saluti|saludos(?: cordiales)?|un saludo|atentamente|atenciosamente"
    r"|met vriendelijke groet(?:en)?|mvg"
    r"|(?:med )?(?:vänliga?|venlig|vennlig) hälsning(?:ar)?|med vänlig hälsning"
    r"|(?:med )?(?:venlig|vennlig) hils(?:en|ning)|mvh|hilsen|pozdrawiam|z poważaniem|z powazaniem|s pozdravem"
    r"|с уважением|terveisin"
)
DATE = (
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d{4}年\d{1,2}月\d{1,2}日"
    r"|\d{1,2}\.? [^\d\s]{3,12}\.? \d{4}|[^\d\s]{3,12}\.? \d{1,2},? \d{4}"
)
# What a subject begins with when a mail is handed on.
FORWARD_PREFIX = (
    r"fwd?|redir\.|videresend|wg|tr|rv|i|enc|encaminhada?|redirecionada|vb|vl|doorst|doorgestuurd|pd|přep|přepos|fs|pp|továbbítás"
    r"|továbbítva|fv|προώθ|ilt|trs|vidarebefordrat|пер|пересл|пд|转发|轉寄|転送|전달"
)
